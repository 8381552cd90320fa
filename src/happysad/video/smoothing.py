"""Smooth a person's probability over time, and keep the label from flickering."""

import math
from typing import Final

from happysad.classifier import Classifier
from happysad.prediction import Label

TIME_CONSTANT: Final = 0.5
"""Seconds in which two thirds (1 - 1/e) of a change have come through."""

MARGIN: Final = 0.05
"""How far the smoothed probability has to leave a label's range before the label changes."""

# Beyond this certainty a single frame would outweigh many; the logit is infinite at 0 and 1.
_EDGE: Final = 1e-3


class Smoother:
    """One person's label: an exponential average of the logit, and hysteresis for the label.

    The weight of what was seen falls with its age in seconds, so that it does not matter how many
    frames a second are looked at.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        low, high = classifier.info.band
        self._ranges: dict[Label, tuple[float, float]] = {
            "sad": (0.0, low),
            "uncertain": (low, high),
            "happy": (high, 1.0),
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
            smoothed probability is beyond its range by more than `MARGIN`.
        """
        p = min(max(probability, _EDGE), 1 - _EDGE)
        weight = 1 - math.exp((self._time - time) / TIME_CONSTANT)
        self._logit += weight * (math.log(p / (1 - p)) - self._logit)
        self._time = time
        smoothed = 1 / (1 + math.exp(-self._logit))
        low, high = self._ranges[self._label] if self._label else (math.inf, -math.inf)
        if self._label is None or not low - MARGIN <= smoothed <= high + MARGIN:
            self._label = self._classifier.label(smoothed)
        return self._label, smoothed
