"""Temporal smoothing of a person's scores, with hysteresis for the label."""

import math
from typing import Final

from happysad.prediction import Label, Scores

TIME_CONSTANT: Final = 0.5
"""Time constant of the moving average, seconds."""

HYSTERESIS: Final = 0.25
"""Distance from the threshold, in logits, that a smoothed score must pass to change the label."""

# Limits the weight of a single frame; the logit is infinite at 0 and 1.
_EDGE: Final = 1e-3


def logit(probability: float) -> float:
    """Return the log odds of a probability clipped to 0.001–0.999."""
    p = min(max(probability, _EDGE), 1 - _EDGE)
    return math.log(p / (1 - p))


class Smoother:
    """Exponential moving average of one person's scores in logits, and a label with hysteresis.

    The weight of a frame depends on its age in seconds, not on the frame rate.
    """

    def __init__(self, threshold: float) -> None:
        """Start a new person.

        Args:
            threshold: Score from which a face is labelled happy or sad, 0–1.
        """
        # A threshold near 1 could not be exceeded by the margin.
        self._threshold = min(threshold, 1 - 10 * _EDGE)
        self._time = -math.inf
        self._logits = (0.0, 0.0)
        self._label: Label | None = None

    def update(self, time: float, scores: Scores) -> tuple[Label, Scores]:
        """Add a frame.

        Args:
            time: Timestamp of the frame, in seconds; not before the previous one.
            scores: Scores of this frame alone.

        Returns:
            The label and the smoothed scores, each 0.001–0.999.
        """
        weight = 1 - math.exp((self._time - time) / TIME_CONSTANT)
        new = (logit(scores.happy), logit(scores.sad))
        self._logits = tuple(  # type: ignore[assignment]
            old + weight * (value - old) for old, value in zip(self._logits, new, strict=True)
        )
        self._time = time
        happy, sad = (1 / (1 + math.exp(-value)) for value in self._logits)
        total = max(1.0, happy + sad)
        smoothed = Scores(happy / total, sad / total)
        if self._label is None or self._leaves(self._label):
            self._label = smoothed.label(self._threshold)
        return self._label, smoothed

    def _leaves(self, label: Label) -> bool:
        happy, sad = self._logits
        threshold = logit(self._threshold)
        if label == "uncertain":
            return max(happy, sad) > threshold + HYSTERESIS
        own, other = (happy, sad) if label == "happy" else (sad, happy)
        return own < threshold - HYSTERESIS or other > own + 2 * HYSTERESIS
