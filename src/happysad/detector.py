"""The one road from image to answer: find the faces, cut them out, classify them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, overload

from happysad.classifier import Classifier
from happysad.faces import FaceDetector, crop_faces
from happysad.image import MAX_PIXELS, LazyImage, Source, fit_square, open_image
from happysad.prediction import Face, Prediction


class Detector:
    """Tells for each face in an image whether it is happy or sad.

        >>> detector = Detector()
        >>> for p in detector.predict("party.jpg"):                     # doctest: +SKIP
        ...     print(p.label, p.probability, p.face.box)

    One detector may be used from several threads at once; each gets the same answers as if it
    were alone.

    Attributes:
        classifier: The model.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        crop: Literal["face", "whole"] = "face",
        max_pixels: int = MAX_PIXELS,
        threads: int = 1,
        on_stage: Callable[[str, float], None] = lambda stage, seconds: None,
    ) -> None:
        """Open the model.

        Args:
            model: A `.tflite` file that happysad exported; None means the released one.
            crop: What is classified: each ``"face"`` that is found, or the ``"whole"`` image
                (its centred square), which then has to be one face already.
            max_pixels: Images with more pixels are refused.
            threads: How many threads LiteRT works with for one crop.
            on_stage: Told the seconds that each stage of an image took: ``"find"`` (with the
                decoding that it calls for), ``"cut"`` and ``"classify"``.

        Raises:
            ModelError: The model is missing, damaged, or was not made by happysad.
        """
        self.classifier = Classifier(model, threads=threads)
        self._face_detector = FaceDetector() if crop == "face" else None
        self._max_pixels = max_pixels
        self._on_stage = on_stage

    # To a type checker a str is a sequence of images as well; what stands first holds.
    @overload
    def predict(  # type: ignore[overload-overlap]
        self, source: Source | LazyImage
    ) -> list[Prediction]: ...
    @overload
    def predict(self, source: Sequence[Source | LazyImage]) -> list[list[Prediction]]: ...
    def predict(self, source: Any) -> list[Prediction] | list[list[Prediction]]:
        """Classify every face of an image.

        Args:
            source: An image (see `Source`, or one that `open_image` opened), or a list or tuple
                of images.

        Returns:
            One prediction for each face, the largest face first; an empty list where there is no
            face. For a list of images, such a list for each.

        Raises:
            ImageError: An image cannot be read, or is too large.
        """
        if isinstance(source, list | tuple):
            return [self._predict(item) for item in source]
        return self._predict(source)

    def _predict(self, source: Source | LazyImage) -> list[Prediction]:
        image = source
        if not isinstance(image, LazyImage):
            image = open_image(image, max_pixels=self._max_pixels)
        size = self.classifier.info.input_size
        faces: Sequence[Face]
        if self._face_detector is None:
            faces = [_whole(image)]
            side = faces[0].box[2]
            longest = max(image.width, image.height)
            crops = fit_square(image.pixels(int(longest * size / side) + 1), size)[None]
        else:
            with self._timed("find"):
                faces = self._face_detector.detect(image)
            with self._timed("cut"):
                crops = crop_faces(image, faces, size)
        with self._timed("classify"):
            probabilities = self.classifier.probabilities(crops).tolist()
        return [
            Prediction(self.classifier.label(probability), probability, face)
            for probability, face in zip(probabilities, faces, strict=True)
        ]

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._on_stage(stage, time.perf_counter() - start)


def _whole(picture: LazyImage) -> Face:
    side = min(picture.width, picture.height)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    return Face((left, top, side, side), (), 1.0)
