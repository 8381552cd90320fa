"""Metrics on parts of a dataset: one part for each value of a column of its table of groups."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from happysad.dataset.scan import GROUPS_FILE
from happysad.dataset.tables import match_rows, read_table
from happysad.training.reliability import wilson_interval


@dataclass(frozen=True)
class Slice:
    """The images with one value of a column.

    Attributes:
        value: The value; empty for images without one.
        images: Their number.
        accuracy: Share that is classified correctly.
        low: Lower end of the accuracy's 95 % interval (Wilson 1927).
        high: Upper end.
        differs: Whether the interval does not contain the accuracy on all images.
        recall_happy: Share of the happy faces that is found; None without happy faces.
        recall_sad: Likewise for sad.
        uncertain: Share labelled uncertain; None for a model that does not abstain.
    """

    value: str
    images: int
    accuracy: float
    low: float
    high: float
    differs: bool
    recall_happy: float | None
    recall_sad: float | None
    uncertain: float | None


def read_column(folder: Path, names: Sequence[str], column: str) -> list[str]:
    """Read each image's value of a column of ``groups.csv``.

    Args:
        folder: The dataset's folder.
        names: The images' paths relative to the folder, with forward slashes.
        column: The column.

    Returns:
        A value for each image; empty for images without a row.

    Raises:
        DatasetError: The table cannot be read or lacks the column, or a row matches no image.
    """
    path = folder / GROUPS_FILE
    rows = match_rows(path, read_table(path, ("path", column)), names)
    return [rows[i].cells[column] if i in rows else "" for i in range(len(names))]


def compute_slices(
    values: Sequence[str],
    labels: npt.NDArray[np.uint8],
    probabilities: npt.NDArray[np.float64],
    uncertain: npt.NDArray[np.bool_] | None,
) -> list[Slice]:
    """Compute metrics for the images of each value, the lowest accuracy first.

    Args:
        values: N values.
        labels: ``[N]``, 0 = sad, 1 = happy.
        probabilities: ``[N]``, P(happy), 0–1; happy from 0.5.
        uncertain: ``[N]``; None for a model that does not abstain.
    """
    correct = (probabilities >= 0.5) == labels.astype(bool)
    members: dict[str, list[int]] = defaultdict(list)
    for index, value in enumerate(values):
        members[value].append(index)

    def mean(of: npt.NDArray[np.bool_]) -> float | None:
        return float(of.mean()) if len(of) else None

    def compute(value: str, chosen: list[int]) -> Slice:
        right = correct[chosen]
        low, high = wilson_interval(right.mean(), np.array(len(chosen)))
        return Slice(
            value=value,
            images=len(chosen),
            accuracy=float(right.mean()),
            low=float(low),
            high=float(high),
            differs=not low <= correct.mean() <= high,
            recall_happy=mean(right[labels[chosen] == 1]),
            recall_sad=mean(right[labels[chosen] == 0]),
            uncertain=None if uncertain is None else mean(uncertain[chosen]),
        )

    slices = [compute(value, chosen) for value, chosen in members.items()]
    return sorted(slices, key=lambda each: (each.accuracy, -each.images, each.value))
