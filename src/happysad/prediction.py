"""What happysad answers: labels and predictions."""

from dataclasses import dataclass
from typing import Final, Literal

Label = Literal["happy", "sad", "uncertain"]
"""``"uncertain"`` stands for a probability inside the band around the threshold."""

LABELS: Final = ("sad", "happy")
"""The two classes in the model's order: the index is the class number, happy = 1 = positive."""


@dataclass(frozen=True)
class Prediction:
    """The answer for one face.

    Attributes:
        label: ``"happy"``, ``"sad"`` or ``"uncertain"``.
        probability: P(happy), calibrated, 0–1.
    """

    label: Label
    probability: float
