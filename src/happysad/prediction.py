"""What happysad answers: labels, faces and predictions."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Label = Literal["happy", "sad", "uncertain"]
"""``"uncertain"`` stands for a probability inside the band around the threshold."""

LABELS: Final = ("sad", "happy")
"""The two classes in the model's order: the index is the class number, happy = 1 = positive."""

Point: TypeAlias = tuple[float, float]
"""``(x, y)`` in pixels of the upright image, from its top left corner."""


@dataclass(frozen=True)
class Face:
    """A face in an image.

    Attributes:
        box: ``(left, top, width, height)`` in pixels of the upright image. It may reach outside
            where the image's border cuts the face.
        landmarks: Right eye, left eye, tip of the nose, right and left corner of the mouth, as the
            person has them: the right eye is on the image's left. Empty where the whole image
            was taken as the face.
        confidence: How sure the face detector is that this is a face, 0–1.
    """

    box: tuple[float, float, float, float]
    landmarks: tuple[Point, ...]
    confidence: float


@dataclass(frozen=True)
class Prediction:
    """The answer for one face.

    Attributes:
        label: ``"happy"``, ``"sad"`` or ``"uncertain"``.
        probability: P(happy), calibrated, 0–1.
        face: Where it is in the image.
    """

    label: Label
    probability: float
    face: Face
