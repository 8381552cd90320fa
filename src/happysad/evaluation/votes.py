"""Metrics by votes: agreement of the scores with the judgements of several people."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from happysad.evaluation.metrics import calibration_error

FloatArray = npt.NDArray[np.floating]

CLEAR: Final = 0.6
"""Share of votes from which a face clearly looks happy, sad or neither."""


@dataclass(frozen=True)
class VoteMetrics:
    """Metrics by votes; None where no face allows the metric.

    Attributes:
        clear: Faces that at least `CLEAR` of the people call happy, or sad.
        clear_accuracy: Share of them whose larger score is that of the more frequent answer.
        clear_balanced_accuracy: Mean of that share over happy and sad faces.
        clear_roc_auc: Area under the ROC curve of P(happy) among happy and sad.
        clear_uncertain: Share of them labelled uncertain.
        mostly: Faces whose most frequent answer is happy or sad.
        mostly_accuracy: Share of them whose larger score is that of the more frequent answer; happy
            where both are equally frequent.
        neither: Faces that at least `CLEAR` of the people call neither happy nor sad.
        neither_happy: Share of them labelled happy.
        neither_sad: Share of them labelled sad.
        calibration_happy: Expected calibration error of the happy score against the share of votes
            (15 bins of equal width).
        calibration_sad: The same of the sad score.
    """

    clear: int
    clear_accuracy: float | None
    clear_balanced_accuracy: float | None
    clear_roc_auc: float | None
    clear_uncertain: float | None
    mostly: int
    mostly_accuracy: float | None
    neither: int
    neither_happy: float | None
    neither_sad: float | None
    calibration_happy: float
    calibration_sad: float


def vote_metrics(shares: FloatArray, scores: FloatArray, threshold: float | None) -> VoteMetrics:
    """Compare scores with votes.

    Args:
        shares: ``[N, 3]``: shares of people who call the face sad, happy, neither.
        scores: ``[N, 2]``: P(sad) and P(happy).
        threshold: The score from which a face is labelled; None labels every face.
    """
    clear = shares[:, :2].max(axis=1) >= CLEAR
    mostly = shares.argmax(axis=1) < 2
    neither = shares[:, 2] >= CLEAR
    happy = shares[:, 1] >= shares[:, 0]
    called_happy = scores[:, 1] >= scores[:, 0]
    right = happy == called_happy
    uncertain = scores.max(axis=1) < (threshold or 0.0)
    probability = scores[:, 1] / np.maximum(scores.sum(axis=1), 1e-9)
    both = 0 < happy[clear].sum() < clear.sum()
    return VoteMetrics(
        clear=int(clear.sum()),
        clear_accuracy=_mean(right[clear]),
        clear_balanced_accuracy=(
            float(balanced_accuracy_score(happy[clear], called_happy[clear])) if both else None
        ),
        clear_roc_auc=float(roc_auc_score(happy[clear], probability[clear])) if both else None,
        clear_uncertain=_mean(uncertain[clear]),
        mostly=int(mostly.sum()),
        mostly_accuracy=_mean(right[mostly]),
        neither=int(neither.sum()),
        neither_happy=_mean((called_happy & ~uncertain)[neither]),
        neither_sad=_mean((~called_happy & ~uncertain)[neither]),
        calibration_happy=calibration_error(shares[:, 1], scores[:, 1]),
        calibration_sad=calibration_error(shares[:, 0], scores[:, 0]),
    )


def most_contested(shares: FloatArray, most: int) -> list[int]:
    """Return the indices of the images whose votes agree least, by entropy, at most ``most``."""
    entropy = -(shares * np.log(shares.clip(1e-12))).sum(axis=1)
    order = np.argsort(-entropy, kind="stable")[:most]
    return [int(i) for i in order if entropy[i] > 0]


def _mean(values: npt.NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if len(values) else None
