"""Loading of datasets: each image becomes a crop, a content hash and a thumbnail."""

import hashlib
import os
import shutil
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from happysad.concurrency import map_ordered
from happysad.cores import cores
from happysad.crops import fit_square
from happysad.dataset.scan import Sample, classes, scan
from happysad.errors import DatasetError, ImageError
from happysad.files import convert_os_errors
from happysad.image import read_image
from happysad.prediction import LABELS
from happysad.progress import track

THUMBNAIL: Final = 32
"""Side of the grey thumbnails in pixels; fixed, so that splits do not depend on the crop size."""


@dataclass(frozen=True)
class Skipped:
    """An image that was skipped.

    Attributes:
        path: The file.
        reason: One line: the file's name, relative to the dataset's folder, and the reason.
        copy_of: For an identical file under another label: that file.
    """

    path: Path
    reason: str
    copy_of: Path | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset of labelled faces in memory, or memory-mapped.

    Attributes:
        folder: The dataset's folder.
        samples: The N images that could be read, sorted by path.
        sha256: N hexadecimal hashes of the files' bytes.
        crops: ``uint8 [N, S, S, 3]``, RGB, 0–255.
        thumbnails: ``uint8 [N, 32, 32]``, grey, 0–255, for finding near duplicates.
        skipped: The images that were skipped, with the reasons.
        classes: Class names by number: sad, happy, then other emotions.
    """

    folder: Path
    samples: list[Sample]
    sha256: list[str]
    crops: npt.NDArray[np.uint8]
    thumbnails: npt.NDArray[np.uint8]
    skipped: list[Skipped]
    classes: tuple[str, ...] = LABELS

    @cached_property
    def labels(self) -> npt.NDArray[np.uint8]:
        """``uint8 [N]``: 0 = sad, 1 = happy, from 2 on other emotions."""
        return np.array([sample.label for sample in self.samples], dtype=np.uint8)

    @cached_property
    def shares(self) -> npt.NDArray[np.float32]:
        """``float32 [N, 3]``: shares of people who call the face sad, happy, neither.

        They come from `VOTES_FILE`; without votes, from the folder.
        """
        shares: npt.NDArray[np.float32] = np.eye(3, dtype=np.float32)[np.minimum(self.labels, 2)]
        for index, sample in enumerate(self.samples):
            if sample.shares:
                shares[index] = sample.shares
        return shares

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all contents, labels and votes; independent of file names."""
        lines = sorted(
            f"{sha256} {sample.label}{f' {list(sample.shares)}' if sample.shares else ''}\n"
            for sha256, sample in zip(self.sha256, self.samples, strict=True)
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def load(
    folder: Path,
    size: int,
    *,
    store: Path | None = None,
    strict: bool = False,
    others: bool = False,
    samples: list[Sample] | None = None,
) -> Dataset:
    """Read every image of a dataset.

    Images that cannot be read are skipped, and so are identical files with different labels; see
    `Dataset.skipped`.

    Args:
        folder: A folder with `happy/` and `sad/`, see `scan`.
        size: Side of the crops in pixels.
        store: An `.npy` file that holds the crops instead of memory; it is overwritten, and
            valid only as long as the dataset exists.
        strict: Refuse a dataset with an image that cannot be read.
        others: Also read the faces of other emotions, see `scan`.
        samples: The images to read; default: all that `scan` lists.

    Raises:
        DatasetError: See `scan`; or no image of a class is left; or, if ``strict``, an image cannot
            be read; or the disk has too little free space for ``store``.
        HappysadError: ``store`` cannot be written.
    """
    if samples is None:
        samples = scan(folder, others=others)
    crops = _room_for_crops((len(samples), size, size, 3), store)
    thumbnails = np.empty((len(samples), THUMBNAIL, THUMBNAIL), np.uint8)
    sha256: list[str] = []
    skipped: dict[int, Skipped] = {}

    def read(index: int) -> tuple[str, str | None]:
        path = samples[index].path
        try:
            content = path.read_bytes()
            image = read_image(content)
        except ImageError as error:
            return "", error.reason
        except OSError as error:
            return "", f"cannot be read ({error.strerror})"
        crops[index] = fit_square(image, size)
        thumbnails[index] = _thumbnail(image)
        return hashlib.sha256(content).hexdigest(), None

    files = map_ordered(read, range(len(samples)), cores())
    for index, (digest, problem) in enumerate(track(files, "Reading images", len(samples))):
        sha256.append(digest)
        if problem is not None:
            skipped[index] = _skip(folder, samples[index], problem)
    if strict and skipped:
        first = "; ".join(item.reason for item in list(skipped.values())[:3])
        more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
        raise DatasetError(f"{folder}: {len(skipped)} images cannot be read: {first}{more}")
    for index, other in _conflicting(samples, sha256, skipped).items():
        name = samples[other].path.relative_to(folder).as_posix()
        skip = _skip(folder, samples[index], f"the same file as {name}, which has another label")
        skipped[index] = replace(skip, copy_of=samples[other].path)

    kept = [index for index in range(len(samples)) if index not in skipped]
    _check_classes_left(folder, {samples[index].label for index in kept}, len(skipped))
    if skipped:
        for new, old in enumerate(kept):
            crops[new] = crops[old]
    return Dataset(
        folder=folder,
        samples=[samples[index] for index in kept],
        sha256=[sha256[index] for index in kept],
        crops=crops[: len(kept)],
        thumbnails=thumbnails[kept],
        skipped=[skipped[index] for index in sorted(skipped)],
        classes=classes(folder) if others else LABELS,
    )


def _room_for_crops(shape: tuple[int, ...], store: Path | None) -> npt.NDArray[np.uint8]:
    if store is None:
        return np.empty(shape, np.uint8)
    with convert_os_errors(store):
        store.parent.mkdir(parents=True, exist_ok=True)
        store.unlink(missing_ok=True)
    need, free = int(np.prod(shape)), shutil.disk_usage(store.parent).free
    if need > free:
        raise DatasetError(
            f"{store}: the crops need {need / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB "
            "left; free some, or choose a smaller input size"
        )
    with convert_os_errors(store):
        crops = np.lib.format.open_memmap(store, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        # Allocated now: writing to a memory map on a full disk kills the process.
        with convert_os_errors(store), store.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, store.stat().st_size)
    return crops


def _thumbnail(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.fromarray(fit_square(image, THUMBNAIL)).convert("L"))


def _skip(folder: Path, sample: Sample, problem: str) -> Skipped:
    name = sample.path.relative_to(folder).as_posix()
    return Skipped(sample.path, f"{name}: {problem}")


def _conflicting(
    samples: list[Sample], sha256: list[str], skipped: dict[int, Skipped]
) -> dict[int, int]:
    """Map each of several identical files with different labels to one with another label."""
    copies = defaultdict(list)
    for index, digest in enumerate(sha256):
        if index not in skipped:
            copies[digest].append(index)
    found = {}
    for same in copies.values():
        for index in same:
            others = (i for i in same if samples[i].label != samples[index].label)
            if (other := next(others, None)) is not None:
                found[index] = other
    return found


def _check_classes_left(folder: Path, labels: set[int], skipped: int) -> None:
    for label, name in enumerate(LABELS):
        if label not in labels:
            raise DatasetError(
                f"{folder}: no {name} image is left after {skipped} were skipped "
                "(unreadable, or with both labels); add some that can be read"
            )
