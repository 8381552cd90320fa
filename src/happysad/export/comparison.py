"""Paired comparison of an exported model with the network it was made from."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

MAX_LOSS: Final = 0.5
"""Points of accuracy that an export may lose."""

SIGNIFICANCE: Final = 0.05
"""A loss counts where chance alone would give one as large less often than this."""


@dataclass(frozen=True)
class Comparison:
    """How two models label the same images.

    Attributes:
        images: Number of images.
        lost: Images that only the original labels correctly.
        won: Images that only the exported model labels correctly.
        p_value: Probability of at least ``lost`` losses among ``lost + won`` images if both models
            were equally accurate: the exact one-sided McNemar test.
    """

    images: int
    lost: int
    won: int
    p_value: float

    @property
    def loss(self) -> float:
        """Accuracy lost, in points (hundredths); negative where accuracy was gained."""
        return 100 * (self.lost - self.won) / self.images

    @property
    def acceptable(self) -> bool:
        """Whether the loss is within `MAX_LOSS`, or may be due to chance."""
        return self.loss <= MAX_LOSS or self.p_value >= SIGNIFICANCE

    @property
    def detectable(self) -> float:
        """The smallest loss, in points, that this number of images can show to be significant."""
        needed = int(np.ceil(np.log(SIGNIFICANCE) / np.log(0.5)))
        return min(100.0, 100 * needed / self.images)


def compare(
    original: npt.NDArray[np.bool_],
    exported: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.integer],
) -> Comparison:
    """Compare two models' decisions on the same images.

    Source: McNemar 1947, "Note on the sampling error of the difference between correlated
    proportions or percentages", in its exact form.

    Args:
        original: ``bool [N]``: True = called happy.
        exported: Likewise.
        labels: ``[N]``, 0 = sad, 1 = happy.
    """
    right, still_right = original == labels, exported == labels
    lost, won = int(np.sum(right & ~still_right)), int(np.sum(~right & still_right))
    p_value = 1.0
    if lost:
        p_value = float(binomtest(lost, lost + won, 0.5, alternative="greater").pvalue)
    return Comparison(len(labels), lost, won, p_value)
