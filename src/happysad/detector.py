"""The one road from picture to answer: find the faces, cut them out, classify them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, overload

from happysad.classifier import Classifier
from happysad.faces import FaceFinder, cut_faces
from happysad.image import MAX_PIXELS, Picture, Source, fit_square, open_picture
from happysad.prediction import Face, Prediction


class Detector:
    """Tells for each face in a picture whether it is happy or sad.

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
            crop: What is classified: each ``"face"`` that is found, or the ``"whole"`` picture
                (its centred square), which then has to be one face already.
            max_pixels: Pictures with more pixels are refused.
            threads: How many threads LiteRT works with for one crop.
            on_stage: Told the seconds that each stage of a picture took: ``"find"`` (with the
                decoding that it calls for), ``"cut"`` and ``"classify"``.

        Raises:
            ModelError: The model is missing, damaged, or was not made by happysad.
        """
        self.classifier = Classifier(model, threads=threads)
        self._finder = FaceFinder() if crop == "face" else None
        self._max_pixels = max_pixels
        self._on_stage = on_stage

    # To a type checker a str is a sequence of pictures as well; what stands first holds.
    @overload
    def predict(  # type: ignore[overload-overlap]
        self, source: Source | Picture
    ) -> list[Prediction]: ...
    @overload
    def predict(self, source: Sequence[Source | Picture]) -> list[list[Prediction]]: ...
    def predict(self, source: Any) -> list[Prediction] | list[list[Prediction]]:
        """Classify every face of a picture.

        Args:
            source: A picture (see `Source`, or one that `open_picture` opened), or a list or tuple
                of pictures.

        Returns:
            One prediction for each face, the largest face first; an empty list where there is no
            face. For a list of pictures, such a list for each.

        Raises:
            ImageError: A picture cannot be read, or is too large.
        """
        if isinstance(source, list | tuple):
            return [self._predict(item) for item in source]
        return self._predict(source)

    def _predict(self, source: Source | Picture) -> list[Prediction]:
        picture = source
        if not isinstance(picture, Picture):
            picture = open_picture(picture, max_pixels=self._max_pixels)
        size = self.classifier.info.input_size
        faces: Sequence[Face]
        if self._finder is None:
            faces = [_whole(picture)]
            side = faces[0].box[2]
            longest = max(picture.width, picture.height)
            crops = fit_square(picture.pixels(int(longest * size / side) + 1), size)[None]
        else:
            with self._timed("find"):
                faces = self._finder.find(picture)
            with self._timed("cut"):
                crops = cut_faces(picture, faces, size)
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


def _whole(picture: Picture) -> Face:
    side = min(picture.width, picture.height)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    return Face((left, top, side, side), (), 1.0)
