"""Results of prediction: labels, scores, faces and images."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from happysad.errors import ImageError

Label = Literal["happy", "sad", "uncertain"]
"""``"uncertain"``: neither score reaches the model's threshold, or what was detected may not be a
photographed face (`happysad.faces.is_doubtful`)."""

LABELS: Final = ("sad", "happy")
"""The two classes in the model's order: the index is the class number, happy = 1 = positive."""

Point: TypeAlias = tuple[float, float]
"""``(x, y)`` in pixels of the upright image, from its top left corner."""


@dataclass(frozen=True)
class Scores:
    """Shares of people who would call a face happy or sad, as the model estimates them.

    Attributes:
        happy: P(happy), calibrated, 0–1.
        sad: P(sad), likewise. The two add up to at most 1.
    """

    happy: float
    sad: float

    @property
    def neither(self) -> float:
        """P(neither happy nor sad), 0–1."""
        return max(0.0, 1.0 - self.happy - self.sad)

    @property
    def probability(self) -> float:
        """P(happy) among happy and sad, 0–1."""
        total = self.happy + self.sad
        return self.happy / total if total else 0.5

    def label(self, threshold: float) -> Label:
        """Return the class with the larger score if that reaches the threshold."""
        if max(self.happy, self.sad) < threshold:
            return "uncertain"
        return "happy" if self.happy >= self.sad else "sad"


@dataclass(frozen=True)
class Face:
    """A detected face.

    Attributes:
        box: ``(left, top, width, height)`` in pixels of the upright image. It may reach beyond the
            image's border.
        landmarks: Right eye, left eye, tip of the nose, right and left corner of the mouth, as the
            person has them: the right eye is on the image's left. Empty where the whole image was
            taken as the face.
        confidence: Detection confidence, 0–1.
    """

    box: tuple[float, float, float, float]
    landmarks: tuple[Point, ...]
    confidence: float


@dataclass(frozen=True)
class Prediction:
    """The label and scores of one face.

    Attributes:
        label: ``"happy"``, ``"sad"`` or ``"uncertain"``.
        scores: P(happy) and P(sad).
        face: Where the face is.
    """

    label: Label
    scores: Scores
    face: Face

    @property
    def probability(self) -> float:
        """P(happy) among happy and sad, 0–1."""
        return self.scores.probability


@dataclass(frozen=True)
class ImageResult:
    """The outcome of prediction on one image: its faces, or the error that prevented it.

    Attributes:
        source: The image's path or name.
        width: Of the upright image, in pixels; None after an error.
        height: Likewise.
        predictions: One for each face, the largest face first.
        error: Why there is no result; None where there is one.
    """

    source: str
    width: int | None = None
    height: int | None = None
    predictions: tuple[Prediction, ...] = ()
    error: ImageError | None = None
