"""Training/validation split and its manifest file."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from happysad.dataset.duplicates import connected, near_duplicates
from happysad.dataset.load import Dataset
from happysad.dataset.scan import OTHER
from happysad.errors import DatasetError
from happysad.files import atomic_csv
from happysad.prediction import LABELS

SIDES: Final = ("training", "validation")
"""Values of the manifest's column ``split``."""

_COLUMNS = ("path", "label", "split", "sha256", "group", "sad", "happy", "neither")


@dataclass(frozen=True)
class ManifestRow:
    """One row of a manifest.

    Attributes:
        path: The image, relative to the dataset's folder, with forward slashes.
        label: Name of the class.
        validation: Whether the image is in the validation split.
        sha256: Hash of the file's bytes.
        group: Group of the image; None without one.
        shares: Shares of people who call the face sad, happy, neither.
    """

    path: str
    label: str
    validation: bool
    sha256: str
    group: str | None
    shares: tuple[float, float, float]


def split(
    dataset: Dataset, validation_fraction: float = 0.2, seed: int = 0
) -> npt.NDArray[np.bool_]:
    """Choose the validation images by content.

    Copies, near duplicates (see `near_duplicates`) and members of one group form a cluster, which
    stays whole. The clusters are processed in the order of a seeded hash of their content, and
    each is taken for validation if that lowers the sum of the classes' relative distances to their
    shares. If happy or sad then has no validation image, the cluster that has some and raises that
    sum least is taken, too. So the split depends on the images and the seed alone, not on the
    machine, on file names or on file order.

    Args:
        dataset: The images.
        validation_fraction: Share of each class that goes to validation, above 0 and below 1.
        seed: Seed of the split.

    Returns:
        ``bool [N]``: True = validation.

    Raises:
        DatasetError: A side would lack a class.
    """
    labels = dataset.labels
    cluster = _clusters(dataset)
    # Images of each class per cluster, and the cluster's position in the order.
    counts = np.zeros((cluster.max() + 1, len(dataset.classes)), np.intp)
    np.add.at(counts, (cluster, labels), 1)
    smallest: dict[int, str] = {}
    for index, digest in zip(cluster.tolist(), dataset.sha256, strict=True):
        smallest[index] = min(digest, smallest.get(index, digest))
    order = sorted(smallest, key=lambda index: _seeded(seed, smallest[index]))

    totals = counts.sum(axis=0).clip(1)
    validation_sizes = np.clip(np.round(totals * validation_fraction), 1, totals - 1)
    # Images of each class still to be taken for validation.
    remaining = validation_sizes.copy()
    taken = np.zeros(len(counts), np.bool_)

    def distance(remaining: npt.NDArray[np.floating]) -> float:
        return float((np.abs(remaining) / totals).sum())

    for index in order:
        after = remaining - counts[index]
        if distance(after) < distance(remaining):
            remaining, taken[index] = after, True
    for label in range(len(LABELS)):
        if remaining[label] == validation_sizes[label]:
            # Not a cluster that would leave no happy, or no sad, image for training.
            for_training = totals - validation_sizes + remaining
            possible = [
                index
                for index in order
                if counts[index, label] and (counts[index] < for_training)[: len(LABELS)].all()
            ]
            if possible:
                index = min(possible, key=lambda index: distance(remaining - counts[index]))
                remaining, taken[index] = remaining - counts[index], True
    validation: npt.NDArray[np.bool_] = taken[cluster]
    _check_sides(dataset, validation)
    return validation


def _clusters(dataset: Dataset) -> npt.NDArray[np.intp]:
    """Number the clusters of images that must stay together, ``int [N]``."""
    contents, first, content = np.unique(dataset.sha256, return_index=True, return_inverse=True)
    pairs = near_duplicates(dataset.thumbnails[first])
    # Each group is a node of the graph, connected to its members.
    groups = {sample.group for sample in dataset.samples} - {None}
    node = {group: len(contents) + number for number, group in enumerate(groups)}
    members = [
        (content[index], node[sample.group])
        for index, sample in enumerate(dataset.samples)
        if sample.group is not None
    ]
    edges = np.concatenate([pairs, np.array(members, np.intp).reshape(-1, 2)])
    return connected(edges, len(contents) + len(groups))[content]


def _seeded(seed: int, digest: str) -> str:
    return hashlib.sha256(f"{seed} {digest}".encode()).hexdigest()


def _check_sides(dataset: Dataset, validation: npt.NDArray[np.bool_]) -> None:
    for label, name in enumerate(LABELS):
        sides = set(validation[dataset.labels == label].tolist())
        if len(sides) == 1:
            side = SIDES[sides.pop()]
            raise DatasetError(
                f"{dataset.folder}: cannot be split, all {name} images would go to {side}; "
                f"add {name} images that are not copies, and are of other groups"
            )


def write_manifest(path: Path, dataset: Dataset, validation: npt.NDArray[np.bool_]) -> None:
    """Write a split to a CSV file.

    Its columns are path, label, split, sha256, group, and the shares sad, happy and neither.

    Args:
        path: The file to write.
        dataset: The images.
        validation: ``bool [N]``, see `split`.
    """
    rows = (
        (
            sample.path.relative_to(dataset.folder).as_posix(),
            dataset.classes[sample.label],
            SIDES[side],
            digest,
            sample.group,
            *(round(share, 4) for share in shares),
        )
        for sample, digest, side, shares in zip(
            dataset.samples,
            dataset.sha256,
            validation.tolist(),
            dataset.shares.tolist(),
            strict=True,
        )
    )
    atomic_csv(path, _COLUMNS, rows)


def read_manifest(path: Path, *, others: bool = False) -> list[ManifestRow]:
    """Read a manifest that `write_manifest` wrote.

    Args:
        path: The file.
        others: Whether to include images that are neither happy nor sad.

    Raises:
        DatasetError: The file is missing or is not a manifest.
    """
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return [
                ManifestRow(
                    path=row["path"],
                    label=row["label"],
                    validation=bool(SIDES.index(row["split"])),
                    sha256=row["sha256"],
                    group=row["group"] or None,
                    shares=(float(row["sad"]), float(row["happy"]), float(row["neither"])),
                )
                for row in csv.DictReader(file)
                if others or not row["label"].startswith(f"{OTHER}/")
            ]
    except OSError as error:
        raise DatasetError(f"{path}: the split cannot be read ({error.strerror})") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise DatasetError(
            f"{path}: not a split of happysad's, which has the columns {','.join(_COLUMNS)}"
        ) from error
