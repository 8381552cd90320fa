"""Warnings about validation results that prove little."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from happysad.prediction import LABELS

FloatArray = npt.NDArray[np.float64]

FEW: Final = 50
"""Validation splits with fewer images are too small to trust."""


def wilson_interval(share: npt.ArrayLike, count: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the 95 % confidence intervals of shares, each of ``count`` images.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    p, n, z2 = np.asarray(share, np.float64), np.asarray(count, np.float64), 1.96**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    # Where the share is 0 or 1, so is the bound, except for rounding.
    return np.minimum(centre - half, p), np.maximum(centre + half, p)


def validation_warnings(
    accuracy: float, labels: Sequence[int] | npt.NDArray[np.integer]
) -> list[str]:
    """Return warnings for users about a validation accuracy, none where it can be trusted.

    Args:
        accuracy: Share of the validation images that are labelled correctly, 0–1.
        labels: Their labels, 0 = sad, 1 = happy.
    """
    truth = np.asarray(labels)
    if not len(truth):
        return ["no validation image is mostly called happy or sad, so there is no accuracy"]
    count, happy = len(truth), float(np.mean(truth == 1))
    majority = max(happy, 1 - happy)
    warnings = []
    if count < FEW:
        warnings.append(
            f"the validation split has only {count} images, so its metrics are unreliable; "
            f"use at least {FEW}, better some hundreds"
        )
    low, high = wilson_interval(accuracy, count)
    if low <= majority:
        warnings.append(
            f"the model may be no better than always predicting {LABELS[int(happy >= 0.5)]!r}: "
            f"validation accuracy {accuracy:.3f} (95 % interval {low:.3f} to {high:.3f}), "
            f"majority class {majority:.3f}; use more images, a better recipe or "
            "--weights happysad"
        )
    return warnings
