"""End-to-end inference pipeline: decode an image, detect faces, crop and classify them."""

import os
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, overload

from happysad.classifier import Classifier
from happysad.concurrency import map_ordered
from happysad.cores import cores
from happysad.crops import crop_faces, fit_square
from happysad.errors import ImageError
from happysad.faces import FaceDetector, is_doubtful
from happysad.image import MAX_PIXELS, LazyImage, Source, open_image
from happysad.image_formats import FORMATS
from happysad.prediction import Face, ImageResult, Prediction, Scores
from happysad.sources import FoundImage


class Detector:
    """Labels each face in an image as happy, sad or uncertain.

        >>> detector = Detector()
        >>> for p in detector.predict("party.jpg"):
        ...     print(p.label, p.scores, p.face.box)

    A detector may be used from several threads and may be pickled; results do not depend on it.

    Attributes:
        classifier: The model.
    """

    def __init__(
        self,
        model: str | Path | bytes | Classifier | None = None,
        *,
        crop: Literal["face", "whole"] = "face",
        max_pixels: int = MAX_PIXELS,
        formats: Collection[str] = FORMATS,
        threads: int = 1,
        on_stage: Callable[[str, float], None] | None = None,
    ) -> None:
        """Load the model.

        Args:
            model: A `.tflite` file that happysad exported, its bytes, or a classifier that several
                detectors share; default: the bundled model.
            crop: What is classified: each detected ``"face"``, or the ``"whole"`` image (its
                centred square), which must be a crop of one face.
            max_pixels: Images with more pixels are refused.
            formats: Which of `happysad.image.FORMATS` are decoded; others are refused.
            threads: Number of threads that LiteRT uses for one crop. A classifier has its own.
            on_stage: Called with the name and seconds of each stage of an image: ``"detect"``
                (including decoding), ``"crop"`` and ``"classify"``.

        Raises:
            ModelError: The model is missing, damaged, or was not made by happysad.
            ValueError: ``crop``, ``formats`` or ``threads`` has another value, or ``threads`` is
                given with a classifier.
        """
        if crop not in ("face", "whole"):
            raise ValueError(f'crop must be "face" or "whole", not {crop!r}')
        if isinstance(formats, str) or not formats or not set(formats) <= set(FORMATS):
            raise ValueError(f"formats must be some of {', '.join(FORMATS)}, not {formats!r}")
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        if isinstance(model, Classifier) and threads != 1:
            raise ValueError("a classifier has its own threads; omit threads")
        self.classifier = (
            model if isinstance(model, Classifier) else Classifier(model, threads=threads)
        )
        self._face_detector = FaceDetector() if crop == "face" else None
        self._max_pixels, self._formats = max_pixels, tuple(formats)
        self._on_stage = on_stage

    # To a type checker a str is also a sequence of sources; the first overload that fits counts.
    @overload
    def predict(  # type: ignore[overload-overlap]
        self, source: Source | LazyImage
    ) -> list[Prediction]: ...
    @overload
    def predict(self, source: Sequence[Source | LazyImage]) -> list[list[Prediction]]: ...
    def predict(self, source: Any) -> list[Prediction] | list[list[Prediction]]:
        """Classify every face of an image.

        Args:
            source: An image (see `Source`, or the result of `open_image`), or a list or tuple of
                images.

        Returns:
            One prediction for each face, the largest face first; an empty list where there is no
            face. For a list of images, such a list for each.

        Raises:
            ImageError: An image cannot be read, or is too large. See `predict_many` for results
                that hold errors instead.
        """
        if isinstance(source, list | tuple):
            return [self._checked(result) for result in self.predict_many(source)]
        return self._checked(self.predict_image(source))

    def predict_many(
        self,
        sources: Iterable[Source | LazyImage | FoundImage],
        threads: int | None = None,
        on_image: Callable[[LazyImage, ImageResult], None] | None = None,
    ) -> Generator[ImageResult]:
        """Classify the faces of many images, several at once.

        Memory use does not grow with the number of images. Closing the generator cancels images
        that have not been started.

            >>> from happysad.sources import find_images
            >>> for result in detector.predict_many(find_images(["holiday/"])):
            ...     print(result.source, result.error or result.predictions)

        Args:
            sources: Images as for `predict`, or what `find_images` yields.
            threads: Images processed at once; default: one per CPU.
            on_image: Called in the worker's thread with each image that was read and its result.

        Returns:
            A generator of results, one for each source, in their order; an image that cannot be
            read gives a result with an error.

        Raises:
            TypeError: ``sources`` is one image.
        """
        if isinstance(sources, str | bytes | bytearray | os.PathLike):
            raise TypeError("predict_many takes a list of images; give one image to predict")
        return map_ordered(
            lambda source: self.predict_image(source, on_image=on_image),
            sources,
            threads or cores(),
        )

    def predict_image(
        self,
        source: Source | LazyImage | FoundImage,
        name: str | None = None,
        on_image: Callable[[LazyImage, ImageResult], None] | None = None,
    ) -> ImageResult:
        """Classify every face of an image; an image that cannot be read gives an error result.

        Args:
            source: See `predict_many`.
            name: What the image is called in the result; default: its path, or ``"image"``.
            on_image: See `predict_many`.
        """
        if isinstance(source, FoundImage):
            name = source.path
            if source.problem:
                return ImageResult(name, error=ImageError(source.problem, name))
        if name is None:
            name = os.fspath(source) if isinstance(source, str | os.PathLike) else "image"
        try:
            image = source.content() if isinstance(source, FoundImage) else source
            if not isinstance(image, LazyImage):
                image = open_image(image, max_pixels=self._max_pixels, formats=self._formats)
            result = ImageResult(name, image.width, image.height, tuple(self._predict(image)))
            if on_image:
                on_image(image, result)
        except ImageError as error:
            return ImageResult(name, error=ImageError(error.reason, name))
        return result

    @staticmethod
    def _checked(result: ImageResult) -> list[Prediction]:
        if result.error:
            raise result.error
        return list(result.predictions)

    def _predict(self, image: LazyImage) -> list[Prediction]:
        info = self.classifier.info
        faces: Sequence[Face]
        if self._face_detector is None:
            faces = [_whole(image)]
            side = faces[0].box[2]
            longest = max(image.width, image.height)
            pixels = image.pixels(int(longest * info.input_size / side) + 1)
            crops = fit_square(pixels, info.input_size)[None]
        else:
            with self._timed("detect"):
                faces = self._face_detector.detect(image)
            with self._timed("crop"):
                crops = crop_faces(
                    image, faces, info.input_size, margin=info.crop_margin, level=info.crop_level
                )
        with self._timed("classify"):
            scores = [Scores(happy, sad) for sad, happy in self.classifier.scores(crops).tolist()]
        return [
            Prediction(
                "uncertain"
                if is_doubtful(face, image.width, image.height)
                else self.classifier.label(score),
                score,
                face,
            )
            for score, face in zip(scores, faces, strict=True)
        ]

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self._on_stage:
            self._on_stage(stage, time.perf_counter() - start)


def _whole(image: LazyImage) -> Face:
    side = min(image.width, image.height)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return Face((left, top, side, side), (), 1.0)
