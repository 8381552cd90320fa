"""Smooth a person's probability over time, and keep the label from flickering."""

import math
from typing import Final

from happysad.classifier import Classifier
from happysad.prediction import Label

TIME_CONSTANT: Final = 0.5
"""Seconds in which two thirds (1 - 1/e) of a change have come through."""

CROP_MARGIN: Final = 0.25
"""How far, in logits, the smoothed probability has to leave a label's range before it changes."""

# Beyond this certainty a single frame would outweigh many; the logit is infinite at 0 and 1.
_EDGE: Final = 1e-3


def logit(probability: float) -> float:
    """Turn a probability into log odds, no further from even than a single frame may be."""
    p = min(max(probability, _EDGE), 1 - _EDGE)
    return math.log(p / (1 - p))


class Smoother:
    """One person's label: an exponential average of the logit, and hysteresis for the label.

    The weight of what was seen falls with its age in seconds, so that it does not matter how many
    frames a second are looked at.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        low, high = classifier.info.band
        self._ranges: dict[Label, tuple[float, float]] = {
            "sad": (-math.inf, logit(low)),
            "uncertain": (logit(low), logit(high)),
            "happy": (logit(high), math.inf),
        }
        self._time = -math.inf
        self._logit = 0.0
        self._label: Label | None = None

    def update(self, time: float, probability: float) -> tuple[Label, float]:
        """Take in what one frame shows.

        Args:
            time: Of the frame, in seconds; later than that of the frame before.
            probability: P(happy) of this frame alone, 0–1.

        Returns:
            The label, and the smoothed P(happy), 0.001–0.999. The label changes only where the
            smoothed probability is beyond its range by more than `CROP_MARGIN`.
        """
        weight = 1 - math.exp((self._time - time) / TIME_CONSTANT)
        self._logit += weight * (logit(probability) - self._logit)
        self._time = time
        smoothed = 1 / (1 + math.exp(-self._logit))
        low, high = self._ranges[self._label] if self._label else (math.inf, -math.inf)
        if self._label is None or not low - CROP_MARGIN <= self._logit <= high + CROP_MARGIN:
            self._label = self._classifier.label(smoothed)
        return self._label, smoothed
