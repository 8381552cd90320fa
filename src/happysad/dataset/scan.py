"""List the labelled images of a dataset folder."""

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from happysad.dataset.names import NAMES, class_number
from happysad.dataset.tables import match_rows, read_table
from happysad.dataset.votes import Shares, read_shares
from happysad.errors import DatasetError
from happysad.prediction import LABELS
from happysad.sources import IGNORED, NO_IMAGES, find_images, is_image_file

OTHER: Final = "other"
"""Optional folder of a dataset for faces that are neither happy nor sad: ``other/<emotion>/``."""

GROUPS_FILE: Final = "groups.csv"
"""Optional file of a dataset: columns path, group (not split), and any others."""


@dataclass(frozen=True)
class Sample:
    """One labelled image file.

    Attributes:
        path: The file.
        label: 0 = sad, 1 = happy; from 2 on the emotions below `other/`, see `classes`.
        group: Images of one group (one person, one video) stay on the same side of a split.
        shares: Shares of votes; None without votes.
    """

    path: Path
    label: int
    group: str | None = None
    shares: Shares | None = None


def classes(folder: Path) -> tuple[str, ...]:
    """Return a dataset's class names by number: sad, happy, and other/angry, …, sorted."""
    other = folder / OTHER
    found = _visible(other) if other.is_dir() else []
    return (*LABELS, *(f"{OTHER}/{entry.name}" for entry in found if entry.is_dir()))


def scan(
    folder: Path,
    *,
    group_pattern: str | None = None,
    others: bool = False,
    exclude: Path | None = None,
) -> list[Sample]:
    """List the images below `happy/` and `sad/`, and optionally those below `other/`.

    Class folders may have any of the `NAMES` and contain subfolders. They are searched as by
    `find_images`.

    Args:
        folder: The dataset's folder.
        group_pattern: A regular expression searched for in each file name. Its first capture
            group, or the whole match, is the image's group; files without a match, or with an
            empty one, have no group.
            Default: groups are read from `groups.csv`, if the folder has one.
        others: Also list the faces below `other/<emotion>/`.
        exclude: A CSV file with the column ``path``: images of the folder that are not listed.

    Returns:
        The samples, sorted by path.

    Raises:
        DatasetError: The folder is missing, empty, lacks a class or contains an unknown class, or
            a folder in it, the groups, the votes or ``exclude`` cannot be read.
    """
    if not folder.is_dir():
        raise DatasetError(
            f"{folder}: no such folder; give one with the subfolders happy/ and sad/"
        )
    samples = []
    for entry in _visible(folder):
        if entry.name == OTHER:
            continue
        label = class_number(entry.name) if entry.is_dir() else None
        if label is not None:
            samples += [Sample(path, label) for path in images_below(entry)]
        else:
            _refuse_images(folder, entry)
    if others:
        _refuse_images_of_no_emotion(folder / OTHER)
        for label, name in list(enumerate(classes(folder)))[len(LABELS) :]:
            samples += [Sample(path, label) for path in images_below(folder / name)]
    samples.sort(key=lambda sample: sample.path)
    _check_classes(folder, samples)
    names = [sample.path.relative_to(folder).as_posix() for sample in samples]
    for index, shares in read_shares(folder, names).items():
        samples[index] = replace(samples[index], shares=shares)
    if group_pattern is not None:
        samples = _grouped_by_pattern(samples, group_pattern)
    elif (folder / GROUPS_FILE).is_file():
        groups = read_groups(folder, names)
        for index, cells in groups.items():
            samples[index] = replace(samples[index], group=cells["group"] or None)
    return samples if exclude is None else without_excluded(folder, samples, exclude)


def check_outside(folder: Path, out: Path) -> None:
    """Check that an output folder is not the dataset's folder or inside it.

    Charts there would count as faces, or as images without a class.

    Raises:
        DatasetError: It is.
    """
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(folder)):
        raise DatasetError(
            f"{out}: is inside the dataset {folder}, where charts would count as faces; give "
            "another --out"
        )


def without_excluded(folder: Path, samples: Sequence[Sample], exclude: Path) -> list[Sample]:
    """Return a dataset's samples without those that a CSV file with the column ``path`` lists.

    Raises:
        DatasetError: The file cannot be read, a row matches no image, or a class has none left.
    """
    names = [sample.path.relative_to(folder).as_posix() for sample in samples]
    excluded = match_rows(exclude, read_table(exclude, ("path",)), names, folder=folder)
    kept = [sample for index, sample in enumerate(samples) if index not in excluded]
    for label, name in enumerate(LABELS):
        if not any(sample.label == label for sample in kept):
            raise DatasetError(f"{exclude}: no {name} images are left; remove some rows")
    return kept


def images_below(folder: Path) -> Iterator[Path]:
    """Yield the image files below a folder, found by `find_images`.

    Raises:
        DatasetError: A folder cannot be read.
    """
    for found in find_images([str(folder)]):
        if found.problem == NO_IMAGES:
            return
        if found.problem:
            raise DatasetError(
                f"{found.path}: {found.problem}; correct its permissions, or move it elsewhere"
            )
        yield Path(found.path)


def _visible(folder: Path) -> list[Path]:
    """Return a folder's sorted entries without hidden files and thumbnails."""
    visible = (
        entry
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and entry.name not in IGNORED
    )
    # Paths sort differently on Windows, and classes are numbered in this order.
    return sorted(visible, key=lambda entry: entry.name)


def _refuse_images_of_no_emotion(other: Path) -> None:
    for entry in _visible(other) if other.is_dir() else []:
        if entry.is_file() and is_image_file(entry):
            raise DatasetError(
                f"{entry}: an image outside {OTHER}/<emotion>/; move it into a folder such as "
                f"{other / 'neutral'}"
            )


def _refuse_images(folder: Path, entry: Path) -> None:
    """Raise an error for images outside the class folders, whose label is unknown."""
    if entry.is_file() and is_image_file(entry):
        raise DatasetError(f"{entry}: an image outside happy/ and sad/; move it into one of them")
    # A folder that cannot be read, such as lost+found, is none of the classes.
    if not entry.is_dir() or all(found.problem for found in find_images([str(entry)])):
        return
    if any(class_number(inner.name) is not None for inner in entry.iterdir()):
        raise DatasetError(
            f"{folder}: holds {entry.name}/, which has the class folders; give {entry} instead"
        )
    raise DatasetError(
        f"{folder}: class {entry.name!r} is neither happy nor sad (known names: "
        f"{', '.join(NAMES)}). If it is one of them under another name, copy the dataset with "
        f"happysad dataset import {shlex.quote(str(folder))} --out NEW --labels 'sad=NAME,"
        f"happy=NAME'; otherwise move the folder to {folder / OTHER}"
    )


def _check_classes(folder: Path, samples: list[Sample]) -> None:
    if not samples:
        raise DatasetError(f"{folder}: no images; put them in {folder}/happy and {folder}/sad")
    if len(samples) == 1:
        raise DatasetError(
            f"{folder}: only one image ({samples[0].path.name}); add at least one of each class"
        )
    for label, name in enumerate(LABELS):
        if not any(sample.label == label for sample in samples):
            raise DatasetError(f"{folder}: no {name} images; put some in {folder}/{name}")


def _grouped_by_pattern(samples: list[Sample], group_pattern: str) -> list[Sample]:
    try:
        pattern = re.compile(group_pattern)
    except re.error as error:
        raise DatasetError(
            f"group pattern {group_pattern!r} is not a valid regular expression: {error}"
        ) from error
    first = 1 if pattern.groups else 0
    matches = (pattern.search(sample.path.name) for sample in samples)
    groups = [match[first] or None if match else None for match in matches]
    if not any(groups):
        raise DatasetError(
            f"group pattern {group_pattern!r} matches no file name, or none of its characters; for "
            f"example not {samples[0].path.name!r}"
        )
    return [replace(sample, group=group) for sample, group in zip(samples, groups, strict=True)]


def read_groups(folder: Path, names: Sequence[str]) -> dict[int, dict[str, str]]:
    """Read a folder's groups.csv.

    Args:
        folder: The folder that contains it.
        names: The images' paths relative to the folder, with forward slashes.

    Returns:
        Index in ``names`` → column → cell, without the column ``path``. The group may be empty.

    Raises:
        DatasetError: The file cannot be read, or a row is wrong; see `match_rows`.
    """
    path = folder / GROUPS_FILE
    rows = match_rows(path, read_table(path, ("path", "group")), names)
    return {index: row.values() for index, row in rows.items()}
