"""Classification metrics with bootstrap confidence intervals."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from happysad.errors import DatasetError
from happysad.evaluation.bootstrap import ECE_BINS, resampled_values, weighted_values


@dataclass(frozen=True)
class Estimate:
    """A metric and its bootstrap 95 % interval.

    Attributes:
        value: The metric on the whole test set; None if it is not defined.
        low: 2.5th percentile over the resamples; None if ``value`` is None.
        high: 97.5th percentile.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Difference:
    """How a model compares with the first one.

    Attributes:
        metrics: By metric: the model's value minus the first one's, with its paired bootstrap 95 %
            interval.
        only_first: Number of images that only the first model classifies correctly.
        only_this: Number of images that only this model classifies correctly.
    """

    metrics: dict[str, Estimate]
    only_first: int
    only_this: int


@dataclass(frozen=True)
class Metrics:
    """All metrics of one model on one test set.

    Attributes:
        threshold: Probability from which a face counts as happy.
        confusion: Counts ``[true][predicted]``, in the order sad, happy.
        figures: By name: ``accuracy``, ``balanced_accuracy``, ``precision_*``, ``recall_*`` and
            ``f1_*`` for ``sad``, ``happy`` and ``macro``, ``roc_auc``, ``average_precision``,
            ``log_loss`` (nats), ``brier`` and ``ece``; where the model
            abstains also ``uncertain`` (the share of images) and ``decided_accuracy`` (on the
            other images).
    """

    threshold: float
    confusion: tuple[tuple[int, int], tuple[int, int]]
    figures: Mapping[str, Estimate]

    @property
    def sad(self) -> int:
        """Number of images whose true label is sad."""
        return sum(self.confusion[0])

    @property
    def happy(self) -> int:
        """Number of images whose true label is happy."""
        return sum(self.confusion[1])

    @property
    def count(self) -> int:
        """Number of images."""
        return self.sad + self.happy


def compute_metrics(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    threshold: float = 0.5,
    uncertain: npt.ArrayLike | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Metrics:
    """Compute the metrics of predicted probabilities.

    A precision where nothing was predicted as that class is 0. With one class only, the metrics
    that need both are None. The intervals are percentile bootstrap intervals over the images (Efron
    and Tibshirani 1993); resampling adds noise to the calibration error and so biases it upwards,
    therefore an interval is widened where it misses the value.

    Args:
        labels: ``[N]``, 0 = sad, 1 = happy.
        probabilities: ``[N]``, P(happy), 0–1.
        threshold: Probability from which a face counts as happy.
        uncertain: ``bool [N]``, which faces are labelled uncertain, or None. It affects only
            ``uncertain`` and ``decided_accuracy``.
        bootstrap: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        The metrics; the same arguments give the same intervals.

    Raises:
        DatasetError: The test set is empty.
    """
    truth = np.asarray(labels).astype(np.uint8)
    p = np.asarray(probabilities, dtype=np.float64)
    if truth.size == 0:
        raise DatasetError("no image to evaluate on: the test set is empty")
    abstained = None if uncertain is None else np.asarray(uncertain, dtype=np.bool_)
    values = weighted_values(truth, p, np.ones((1, len(truth))), threshold, abstained)
    samples = resampled_values(truth, p, threshold, abstained, bootstrap, seed)
    counts = np.bincount(2 * truth.astype(int) + (p >= threshold), minlength=4).tolist()
    return Metrics(
        threshold=threshold,
        confusion=((counts[0], counts[1]), (counts[2], counts[3])),
        figures={name: _estimate(value[0], samples[name]) for name, value in values.items()},
    )


def paired_difference(
    labels: npt.ArrayLike,
    first: npt.ArrayLike,
    other: npt.ArrayLike,
    threshold: float = 0.5,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Difference:
    """Compare two models' probabilities of the same images.

    Args:
        labels: ``[N]``, 0 = sad, 1 = happy.
        first: ``[N]``, P(happy) by the model that is compared with.
        other: ``[N]``, P(happy) by the other model.
        threshold: Probability from which a face counts as happy.
        bootstrap: Number of resamples.
        seed: Seed of the resampling.
    """
    truth = np.asarray(labels).astype(np.uint8)
    pair = [np.asarray(p, dtype=np.float64) for p in (first, other)]
    ones = np.ones((1, len(truth)))
    before, after = (weighted_values(truth, p, ones, threshold, None) for p in pair)
    # The same seed draws the same images for both.
    low, high = (resampled_values(truth, p, threshold, None, bootstrap, seed) for p in pair)
    right, still_right = ((p >= threshold) == truth.astype(bool) for p in pair)
    return Difference(
        metrics={
            name: _estimate((after[name] - before[name])[0], high[name] - low[name])
            for name in before
        },
        only_first=int((right & ~still_right).sum()),
        only_this=int((~right & still_right).sum()),
    )


def calibration_error(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Expected calibration error of P(happy), over 15 bins of equal width.

    The mean gap between the probability and the share of happy images in a bin, weighted by the
    bin's images: the form for two classes (Naeini et al. 2015, "Obtaining Well Calibrated
    Probabilities Using Bayesian Binning") with the bins of Guo et al. 2017 ("On Calibration of
    Modern Neural Networks").

    Args:
        labels: ``[N]``, 0 = sad, 1 = happy; or shares of votes, 0–1.
        probabilities: ``[N]``, P(happy), 0–1; or a score, to compare with shares.

    Returns:
        0 (perfectly calibrated) to 1.
    """
    truth, p = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    bins = np.minimum((p * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = [abs(p[bins == bin_].mean() - truth[bins == bin_].mean()) for bin_ in np.unique(bins)]
    return float(np.average(gaps, weights=np.unique(bins, return_counts=True)[1]))


def _estimate(value: float, samples: npt.NDArray[np.float64]) -> Estimate:
    if not np.isfinite(value):
        return Estimate(None, None, None)
    # A resample of a tiny set may lack a class; its NaN is ignored. The sample itself is added, so
    # that at least one value is defined.
    low, high = np.nanpercentile(np.append(samples, value), [2.5, 97.5])
    return Estimate(float(value), min(float(low), float(value)), max(float(high), float(value)))
