"""Dataset check: unreadable, duplicate, mislabelled and otherwise doubtful images."""

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
from happysad.dataset.duplicates import connected, near_duplicates
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
    "unreadable": "convert or remove them; training skips them",
    "two labels": "keep one; training skips identical files with both labels",
    "leak": "exclude or remove them from one of the datasets; a test must not use training images",
    "duplicate": "harmless: the split keeps copies together",
    "near duplicate": "harmless: the split keeps them together",
    "probably mislabelled": "look at each: the model predicts the other label",
    "no face": "look at each: no face was detected",
    "several faces": "crop the intended face: happysad dataset crop",
    "tiny": "prefer larger images",
    "blurred": "keep them if the images to predict are like this",
}

TINY: Final = 40
"""Minimum shorter side in pixels; smaller images are reported as tiny."""

BLURRED: Final = 0.06
"""Minimum sharpness; less sharp images are reported as blurred, see `sharpness`.

Faces of FER2013 and photographs have 0.07 and more; blurred by a Gaussian of a fortieth of their
side, 0.03 to 0.08.
"""

_SHARPNESS_SIDE: Final = 48


@dataclass(frozen=True)
class Finding:
    """A problem of one image.

    Attributes:
        kind: The kind of problem.
        path: The image, relative to the dataset's folder.
        detail: Details in a few words.
        other: The image that it duplicates or nearly duplicates: relative to the dataset's folder,
            or absolute in another dataset; None for problems of a single image.
    """

    kind: Kind
    path: str
    detail: str
    other: str | None = None


@dataclass(frozen=True)
class CheckResult:
    """The result of a check.

    Attributes:
        folder: The dataset's folder.
        images: Number of usable images of each label.
        sides: Minimum, median and maximum of the images' shorter sides, pixels.
        findings: The problems, in the order of `KINDS`, then by path.
    """

    folder: Path
    images: dict[str, int]
    sides: tuple[int, int, int]
    findings: list[Finding]

    @property
    def counts(self) -> Counter[Kind]:
        """Number of findings of each kind."""
        return Counter(finding.kind for finding in self.findings)


def check(folder: Path, *, against: Path | None = None, model: Path | None = None) -> CheckResult:
    """Check every image of a dataset.

    Args:
        folder: A folder with ``happy/`` and ``sad/``, and perhaps ``other/<emotion>/``.
        against: Another dataset, such as the test set, that must share no image with it.
        model: The `.tflite` file that finds doubtful labels; default: the bundled model.

    Raises:
        DatasetError: See `load`.
        ModelError: The model cannot be loaded.
    """
    classifier = Classifier(model)
    data = load(folder, classifier.info.input_size, others=True)
    findings = [_skipped(data, skipped) for skipped in data.skipped]
    findings += _duplicates(data)
    if against:
        findings += _leaks(data, load(against, THUMBNAIL, others=True))
    findings += _mislabelled(data, classifier)
    inspected = list(_inspect(data))
    sides = [side for side, _ in inspected]
    findings += [finding for _, found in inspected for finding in found]
    order = {kind: number for number, kind in enumerate(KINDS)}
    return CheckResult(
        folder=folder,
        images={label: int((data.labels == i).sum()) for i, label in enumerate(data.classes)},
        sides=(min(sides), int(np.median(sides)), max(sides)),
        findings=sorted(findings, key=lambda finding: (order[finding.kind], finding.path)),
    )


def sharpness(image: RgbImage) -> float:
    """Measure the share of fine detail in the contrast of a face, at 48 pixels.

    The standard deviation of the Laplacian (Pech-Pacheco et al. 2000, "Diatom autofocusing in
    brightfield microscopy") relative to that of the grey levels.

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


def _skipped(data: Dataset, skipped: Skipped) -> Finding:
    name = skipped.path.relative_to(data.folder).as_posix()
    reason = skipped.reason.removeprefix(f"{name}: ")
    if skipped.copy_of is None:
        return Finding("unreadable", name, reason)
    return Finding("two labels", name, reason, skipped.copy_of.relative_to(data.folder).as_posix())


def _duplicates(data: Dataset) -> Iterator[Finding]:
    first: dict[str, int] = {}
    original = [first.setdefault(digest, index) for index, digest in enumerate(data.sha256)]
    for index, same in enumerate(original):
        if same != index:
            yield _pair("duplicate", "as", data, index, same)
    # Copies of one file are represented by the first.
    pairs = {(original[a], original[b]) for a, b in near_duplicates(data.thumbnails).tolist()}
    labels = data.labels
    kinds: tuple[tuple[Kind, bool], ...] = (("two labels", False), ("near duplicate", True))
    for kind, same_label in kinds:
        chosen = [(a, b) for a, b in pairs if a != b and (labels[a] == labels[b]) == same_label]
        component = connected(np.array(chosen, np.intp).reshape(-1, 2), len(labels))
        _, smallest = np.unique(component, return_index=True)
        for index, representative in enumerate(smallest[component].tolist()):
            if index != representative:
                yield _pair(kind, "nearly", data, index, representative)


def _pair(kind: Kind, relation: str, data: Dataset, index: int, other: int) -> Finding:
    name = _name(data, other)
    return Finding(kind, _name(data, index), f"{relation} {name}", name)


def _leaks(data: Dataset, other: Dataset) -> Iterator[Finding]:
    where: dict[int, tuple[str, int]] = {}
    count = len(data.samples)
    pairs = near_duplicates(np.concatenate([data.thumbnails, other.thumbnails]))
    for one, two in pairs[(pairs[:, 0] < count) & (pairs[:, 1] >= count)].tolist():
        where[one] = "nearly", two - count
    copies = {digest: index for index, digest in enumerate(other.sha256)}
    for index, digest in enumerate(data.sha256):
        if digest in copies:
            where[index] = "as", copies[digest]
    for index, (relation, found) in where.items():
        detail = f"{relation} {other.folder.name}/{_name(other, found)}"
        path = str(other.samples[found].path.absolute())
        yield Finding("leak", _name(data, index), detail, path)


def _mislabelled(data: Dataset, classifier: Classifier) -> Iterator[Finding]:
    """Find labels that contradict the model at least as confidently as it predicts the other class.

    Faces that are neither happy nor sad are left out.

    Northcutt et al. 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels". Few are
    found among images that the model was trained on.
    """
    chunks = range(0, len(data.crops), 256)
    found = map_ordered(
        lambda i: classifier.probabilities(data.crops[i : i + 256]), chunks, cores()
    )
    p = np.concatenate(list(track(found, "Classifying", len(chunks))))
    usual = {0: float((1 - p[data.labels == 0]).mean()), 1: float(p[data.labels == 1].mean())}
    for index, (label, happy) in enumerate(zip(data.labels.tolist(), p.tolist(), strict=True)):
        if label < len(LABELS) and (1 - happy if label else happy) >= usual[1 - label]:
            detail = f"labelled {LABELS[label]}, P(happy) {happy:.2f}"
            yield Finding("probably mislabelled", _name(data, index), detail)


def _inspect(data: Dataset) -> Iterator[tuple[int, list[Finding]]]:
    """Yield each image's shorter side and its findings."""
    face_detector = FaceDetector()

    def inspect(index: int) -> tuple[int, list[Finding]]:
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
    yield from track(map_ordered(inspect, range(count), cores()), "Detecting faces", count)
