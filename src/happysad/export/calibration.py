"""Calibration of scores, and the threshold below which a face is labelled uncertain."""

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

FloatArray = npt.NDArray[np.floating]

# Range of thresholds, and the share of happy and sad faces that may be uncertain.
_SIGMOID: Final = (0.50, 0.65, 0.05)
_SOFTMAX: Final = (0.30, 0.60, 0.08)


def fit_temperature(logits: FloatArray, shares: FloatArray) -> float:
    """Find the temperature that calibrates ``logits / temperature``.

    Temperature scaling by the lowest log loss: Guo et al. 2017, "On Calibration of Modern Neural
    Networks". It does not change which score is the larger one.

    Args:
        logits: Of validation crops: ``[N, 1]`` before a sigmoid, or ``[N, 3]`` before a softmax.
        shares: ``[N, 3]``: shares of people who call the face sad, happy, neither. With a sigmoid,
            faces that no one calls happy or sad are left out, as in training.

    Returns:
        The temperature, 0.05–20; above 1 the network was overconfident.
    """
    z = _softmax_logits(logits)
    y = np.asarray(shares, np.float64)[:, : z.shape[1]]
    if y.shape[1] == 2:
        used = y.sum(axis=1) > 0
        z, y = z[used], y[used] / y[used].sum(axis=1, keepdims=True)

    def log_loss(log_temperature: float) -> float:
        return float(-(y * log_softmax(z / np.exp(log_temperature), axis=1)).sum(axis=1).mean())

    limit = np.log(20)
    found = minimize_scalar(log_loss, bounds=(-limit, limit), method="bounded")
    return float(np.exp(found.x))


def calibrated_scores(logits: FloatArray, temperature: float) -> npt.NDArray[np.float64]:
    """Return P(sad) and P(happy), ``[N, 2]``; arguments as for `fit_temperature`."""
    scores: npt.NDArray[np.float64] = softmax(_softmax_logits(logits) / temperature, axis=1)
    return scores[:, :2]


def _softmax_logits(logits: FloatArray) -> npt.NDArray[np.float64]:
    """Write a sigmoid's logit as those of a softmax over two, the first of which is 0."""
    z = np.asarray(logits, np.float64)
    return np.hstack([np.zeros_like(z), z]) if z.shape[1] == 1 else z


def choose_threshold(scores: FloatArray, *, neither: bool = False) -> float:
    """Choose the threshold: a face whose scores are both below it is labelled uncertain.

    It is the largest, in steps of 0.01, that leaves at most 5 % of the faces uncertain, from 0.50
    to 0.65. A calibrated model is wrong about at least 35 % of these, so a label would be little
    better than a guess. With a softmax the scores of faces that are neither are both small: the
    range is 0.30 to 0.60, and 8 % may be uncertain. A model that separates nothing reaches neither
    aim; it gets the largest threshold and abstains most.

    Args:
        scores: ``[N, 2]``, calibrated P(sad) and P(happy) of validation faces that people clearly
            call happy or sad.
        neither: Whether the model has a third output for faces that are neither.
    """
    lowest, highest, most = _SOFTMAX if neither else _SIGMOID
    larger = np.asarray(scores, np.float64).max(axis=1)
    for threshold in np.arange(highest, lowest - 0.005, -0.01).round(2).tolist():
        if np.mean(larger < threshold) <= most:
            return float(threshold)
    return highest
