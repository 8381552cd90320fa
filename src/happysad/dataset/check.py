"""Look a dataset over before training on it: what is damaged, doubled, doubtful or lopsided."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import cv2
import numpy as np

from happysad.classifier import Classifier
from happysad.concurrency import map_ordered
from happysad.cores import cores
from happysad.dataset.duplicates import near_duplicates
from happysad.dataset.load import THUMBNAIL, Dataset, Skipped, load
from happysad.errors import ImageError
from happysad.faces import FaceDetector
from happysad.image import RgbImage, open_image
from happysad.prediction import LABELS
from happysad.progress import track

Kind = Literal[
    "unreadable",
    "two labels",
    "leak",
    "duplicate",
    "near duplicate",
    "probably mislabelled",
    "no face",
    "several faces",
    "tiny",
    "blurred",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

ADVICE: Final[dict[Kind, str]] = {
    "unreadable": "convert or remove them; training leaves them out",
    "two labels": "decide for one; training leaves out files that stand under both",
    "leak": "take them out of one of the two folders: a test on seen images proves nothing",
    "duplicate": "harmless for the split, which keeps copies together",
    "near duplicate": "harmless for the split, which keeps them together",
    "probably mislabelled": "look at each: the model is sure of the other label",
    "no face": "look at each: nothing like a face was found",
    "several faces": "cut the one that is meant: happysad dataset crop",
    "tiny": "larger ones teach more",
    "blurred": "keep them if users' images are so, too",
}

TINY: Final = 40
"""Pixels; an image whose shorter side has fewer is tiny."""

BLURRED: Final = 0.06
"""An image that is less sharp is blurred, see `sharpness`.

Faces of FER2013 and photographs of faces have 0.07 and more; blurred by a Gaussian of a fortieth of
their side, 0.03 to 0.08.
"""

_SHARPNESS_SIDE: Final = 48


@dataclass(frozen=True)
class Finding:
    """Something about one image that a person should look at.

    Attributes:
        kind: What was found.
        path: The image, relative to the dataset's folder.
        detail: What exactly, in a few words.
    """

    kind: Kind
    path: str
    detail: str


@dataclass(frozen=True)
class CheckResult:
    """What a dataset looks like.

    Attributes:
        folder: The dataset's folder.
        images: Number of images of each label that can be trained on.
        sides: Shortest, median and longest of the images' shorter sides, pixels.
        findings: In the order of `KINDS`, then by path.
    """

    folder: Path
    images: dict[str, int]
    sides: tuple[int, int, int]
    findings: list[Finding]

    @property
    def counts(self) -> Counter[Kind]:
        """How many findings there are of each kind."""
        return Counter(finding.kind for finding in self.findings)


def check(folder: Path, *, against: Path | None = None, model: Path | None = None) -> CheckResult:
    """Look over every image of a dataset.

    Args:
        folder: A folder with ``happy/`` and ``sad/``.
        against: Another such folder that must have no image in common with it: its test set.
        model: The `.tflite` file that says which labels are doubtful; None means the released one.

    Raises:
        DatasetError: See `load`.
        ModelError: The model cannot be opened.
    """
    classifier = Classifier(model)
    data = load(folder, classifier.info.input_size)
    findings = [_left_out(data, skipped) for skipped in data.skipped]
    findings += _doubled(data)
    if against:
        findings += _leaks(data, load(against, THUMBNAIL))
    findings += _mislabelled(data, classifier)
    looked = list(_look(data))
    sides = [side for side, _ in looked]
    findings += [finding for _, found in looked for finding in found]
    order = {kind: number for number, kind in enumerate(KINDS)}
    return CheckResult(
        folder=folder,
        images={label: int((data.labels == i).sum()) for i, label in enumerate(LABELS)},
        sides=(min(sides), int(np.median(sides)), max(sides)),
        findings=sorted(findings, key=lambda finding: (order[finding.kind], finding.path)),
    )


def sharpness(image: RgbImage) -> float:
    """Measure how much of the contrast of a face is fine detail, at 48 pixels.

    The Laplacian's standard deviation (Pech-Pacheco et al. 2000, "Diatom autofocusing in
    brightfield microscopy") against that of the grey levels.

    Args:
        image: ``uint8 [height, width, 3]``, RGB.

    Returns:
        0 for a blank image, about 1 for noise.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    scale = _SHARPNESS_SIDE / min(grey.shape)
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    contrast = float(grey.std())
    return float(cv2.Laplacian(grey, cv2.CV_32F).std()) / 4 / contrast if contrast > 1 else 0.0


def _name(data: Dataset, index: int) -> str:
    return data.samples[index].path.relative_to(data.folder).as_posix()


def _left_out(data: Dataset, skipped: Skipped) -> Finding:
    name = skipped.path.relative_to(data.folder).as_posix()
    reason = skipped.reason.removeprefix(f"{name}: ")
    both = reason.startswith("the same file")
    return Finding("two labels" if both else "unreadable", name, reason)


def _doubled(data: Dataset) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for index, digest in enumerate(data.sha256):
        if first.setdefault(digest, index) != index:
            yield Finding("duplicate", _name(data, index), f"as {_name(data, first[digest])}")
    for one, other in near_duplicates(data.thumbnails).tolist():
        if data.sha256[one] == data.sha256[other]:
            continue
        if data.labels[one] != data.labels[other]:
            yield Finding("two labels", _name(data, one), f"nearly {_name(data, other)}")
        else:
            yield Finding("near duplicate", _name(data, other), f"nearly {_name(data, one)}")


def _leaks(data: Dataset, other: Dataset) -> Iterator[Finding]:
    where: dict[int, str] = {}

    def name(index: int) -> str:
        return f"{other.folder.name}/{_name(other, index)}"

    count = len(data.samples)
    pairs = near_duplicates(np.concatenate([data.thumbnails, other.thumbnails]))
    for one, two in pairs[(pairs[:, 0] < count) & (pairs[:, 1] >= count)].tolist():
        where[one] = f"nearly {name(two - count)}"
    copies = {digest: index for index, digest in enumerate(other.sha256)}
    for index, digest in enumerate(data.sha256):
        if digest in copies:
            where[index] = f"as {name(copies[digest])}"
    for index, detail in where.items():
        yield Finding("leak", _name(data, index), detail)


def _mislabelled(data: Dataset, classifier: Classifier) -> Iterator[Finding]:
    """Find labels that the model is sure are wrong: as sure as it is of the other label's own.

    Northcutt et al. 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels". What the
    model was trained on itself it doubts too rarely.
    """
    chunks = range(0, len(data.crops), 256)
    found = map_ordered(
        lambda i: classifier.probabilities(data.crops[i : i + 256]), chunks, cores()
    )
    p = np.concatenate(list(track(found, "Classifying", len(chunks))))
    usual = {0: float((1 - p[data.labels == 0]).mean()), 1: float(p[data.labels == 1].mean())}
    for index, (label, happy) in enumerate(zip(data.labels.tolist(), p.tolist(), strict=True)):
        if (1 - happy if label else happy) >= usual[1 - label]:
            detail = f"labelled {LABELS[label]}, P(happy) {happy:.2f}"
            yield Finding("probably mislabelled", _name(data, index), detail)


def _look(data: Dataset) -> Iterator[tuple[int, list[Finding]]]:
    """Give each image's shorter side, and what is wrong with its image."""
    face_detector = FaceDetector()

    def look(index: int) -> tuple[int, list[Finding]]:
        path, name = data.samples[index].path, _name(data, index)
        try:
            image = open_image(path)
            faces = len(face_detector.detect(image))
            sharp = sharpness(image.pixels(4 * _SHARPNESS_SIDE))
        except ImageError as error:
            return 0, [Finding("unreadable", name, error.reason)]
        side, found = min(image.width, image.height), []
        if not faces:
            found.append(Finding("no face", name, f"{image.width}×{image.height} pixels"))
        if faces > 1:
            found.append(Finding("several faces", name, f"{faces} faces"))
        if side < TINY:
            found.append(Finding("tiny", name, f"{image.width}×{image.height} pixels"))
        if sharp < BLURRED:
            found.append(Finding("blurred", name, f"sharpness {sharp:.2f}"))
        return side, found

    count = len(data.samples)
    yield from track(map_ordered(look, range(count), cores()), "Looking for faces", count)
