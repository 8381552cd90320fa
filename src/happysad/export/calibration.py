"""Make probabilities mean what they say, and say when they are too near to call."""

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

THRESHOLD: Final = 0.5
"""P(happy) from which a crop counts as happy: with calibrated probabilities, the likelier class."""

# How far the band may reach to either side, in hundredths, and whom it may leave undecided.
_WIDEST: Final = 15
_MOST_UNDECIDED: Final = 0.05
_WIDEST_WITH_NEITHER: Final = 40
_MOST_UNDECIDED_WITH_NEITHER: Final = 0.125


def fit_temperature(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> float:
    """Find the temperature that makes ``sigmoid(logit / temperature)`` calibrated.

    Temperature scaling by the smallest log loss: Guo et al. 2017, "On Calibration of Modern
    Neural Networks". It changes no decision at threshold 0.5.

    Args:
        logits: ``[N]``, of validation crops.
        labels: ``[N]``, 0 = sad, 1 = happy.

    Returns:
        The temperature, 0.05–20; above 1 the network was too sure of itself.
    """
    z, y = np.asarray(logits, np.float64), np.asarray(labels, np.float64)

    def log_loss(log_temperature: float) -> float:
        scaled = z / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, scaled) - y * scaled))

    limit = np.log(20)
    found = minimize_scalar(log_loss, bounds=(-limit, limit), method="bounded")
    return float(np.exp(found.x))


def choose_band(
    probabilities: npt.NDArray[np.floating], neither: bool = False
) -> tuple[float, float]:
    """Choose the uncertain band: answers in it are called ``"uncertain"``.

    It is the widest symmetric band around the threshold, in steps of 0.01 and at most 0.35–0.65,
    that leaves at most 5 % of the validation crops undecided. In there a calibrated model is
    wrong at least 35 % of the time, so that an answer would be little better than a guess; and 5 %
    keeps it useful where the model is weak.

    A model that was taught that faces can be neither has a use for more: 0.10–0.90 and one crop in
    eight. Most neutral faces then are uncertain (docs/benchmarks.md), which would be called sad.

    Args:
        probabilities: ``[N]``, calibrated P(happy) of the happy and sad validation crops.
        neither: Whether the model was trained on faces that are neither.

    Returns:
        ``(low, high)``, both included in the band.
    """
    p = np.asarray(probabilities, np.float64)
    widest = _WIDEST_WITH_NEITHER if neither else _WIDEST
    most = _MOST_UNDECIDED_WITH_NEITHER if neither else _MOST_UNDECIDED
    for hundredths in range(widest, 0, -1):
        low = round(THRESHOLD - hundredths / 100, 2)
        high = round(THRESHOLD + hundredths / 100, 2)
        if np.mean((p >= low) & (p <= high)) <= most:
            return low, high
    return THRESHOLD, THRESHOLD
