"""Framing of crops: which one the classifier prefers, and which one its training images have.

python benchmarks/framing.py shared/data/portraits --training shared/data/fer2013/training

First, on labelled photographs (folders happy and sad; in ``Some_Name_0012.jpg`` the person is
Some_Name): balanced accuracy and area under the ROC curve of the packaged model for crops of
several sides, middles, and with and without levelling the eyes, colour and grey photographs apart.
The interval is of the difference to the framing that happysad uses, from 1,000 bootstrap resamples
of persons. The portraits are cut tight: the box is about as large as the image, so larger sides
show mirrored borders, and a framing that needs surroundings cannot win here. `happysad.faces` was
settled with these figures: as far as the choice of framing goes, the portraits are not unseen.

Second, on a sample of the training images (which are crops already): where the face's box lies in
them. A crop of a photograph should look like that.
"""

import argparse
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from happysad import Detector
from happysad.crops import crop_faces
from happysad.dataset.scan import scan
from happysad.evaluation.bootstrap import weighted_values
from happysad.faces import FaceDetector
from happysad.image import open_image, read_image
from happysad.prediction import Face, Point
from happysad.progress import track

FloatArray = npt.NDArray[np.float64]

FACTORS: Final = (0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5)
MEASURES: Final = (
    "longer side of the box",
    "middle of the box, x",
    "middle of the box, y",
    "middle of the features, x",
    "middle of the features, y",
    "roll, degrees",
)
RESAMPLES: Final = 1000
SAMPLE: Final = 2000


def box_middle(face: Face) -> Point:
    """Middle of the box."""
    left, top, width, height = face.box
    return left + width / 2, top + height / 2


def features_middle(face: Face) -> Point:
    """Half-way between the eyes and the corners of the mouth."""
    points = np.array(face.landmarks)
    x, y = (points[:2].mean(axis=0) + points[3:].mean(axis=0)) / 2
    return float(x), float(y)


def raised_middle(face: Face) -> Point:
    """Like `features_middle`, moved up to its position in FER2013's images."""
    x, y = features_middle(face)
    return x, y - 0.06 * max(face.box[2:])


MIDDLES: Final[dict[str, Callable[[Face], Point]]] = {
    "box": box_middle,
    "features": features_middle,
    "raised": raised_middle,
}


def framed(face: Face, factor: float, middle: Callable[[Face], Point], level: bool) -> Face:
    """Alter a face so that `crop_faces` frames it in another way."""
    x, y = middle(face)
    width, height = (side * factor for side in face.box[2:])
    box = (x - width / 2, y - height / 2, width, height)
    return replace(face, box=box, landmarks=face.landmarks if level else ())


def person(path: Path) -> str:
    """Read the person from a portrait's name."""
    return re.sub(r"_\d+$", "", path.stem)


def compare_on_portraits(folder: Path) -> None:
    """Print a row for each framing."""
    detector, face_detector = Detector(), FaceDetector()
    classifier, size = detector.classifier, detector.classifier.info.input_size
    framings = list(product(FACTORS, MIDDLES, (True, False)))
    labels, people, grey, missed = [], [], [], []
    answers: list[npt.NDArray[np.float32]] = []
    for sample in track(scan(folder), "Classifying portraits"):
        image = open_image(sample.path)
        faces = face_detector.detect(image)
        if len(faces) != 1:
            missed.append(f"{sample.path.name} ({len(faces)})")
            continue
        variants = [framed(faces[0], f, MIDDLES[m], level) for f, m, level in framings]
        crops = [crop_faces(image, [variant], size)[0] for variant in variants]
        answers.append(classifier.probabilities(np.stack(crops)))
        labels.append(sample.label)
        people.append(person(sample.path))
        grey.append(np.ptp(image.pixels().astype(int), axis=2).mean() < 3)
    truth, p = np.array(labels, np.uint8), np.array(answers, np.float64)
    weights = person_weights(people)
    print(f"{len(truth)} portraits of {len(set(people))} people, {sum(grey)} of them grey; ")
    print(f"not exactly one face: {', '.join(missed) or 'none'}\n")
    print(
        "| side | middle | eyes level | balanced accuracy | difference | AUC | difference ", end=""
    )
    print("| colour: b. acc. | AUC | grey: b. acc. | AUC |\n" + "| --- " * 11 + "|")
    chosen = framings.index((1.0, "box", True))
    rows = [figures(truth, p[:, i], weights) for i in range(p.shape[1])]
    for i, (factor, middle, level) in enumerate(framings):
        cells = [f"{factor:.1f}", middle, "yes" if level else "no"]
        for name in ("balanced_accuracy", "roc_auc"):
            cells.append(f"{rows[i][name][0]:.3f}")
            gaps = rows[i][name][1:] - rows[chosen][name][1:]
            low, high = np.nanpercentile(gaps, [2.5, 97.5])
            cells.append(f"{low:+.3f} to {high:+.3f}")
        for which in (~np.array(grey), np.array(grey)):
            part = figures(truth[which], p[which, i], np.empty((0, which.sum())))
            cells += [f"{part[n][0]:.3f}" for n in ("balanced_accuracy", "roc_auc")]
        print(f"| {' | '.join(cells)} |")


def person_weights(people: list[str]) -> FloatArray:
    """Draw persons with replacement: how often each portrait counts, ``float [R, N]``."""
    names, number = np.unique(people, return_inverse=True)
    drawn = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    return np.stack([np.bincount(row, minlength=len(names))[number] for row in drawn]).astype(float)


def figures(
    truth: npt.NDArray[np.uint8], p: FloatArray, weights: FloatArray
) -> dict[str, FloatArray]:
    """Compute every metric: first of the portraits as they are, then of each resample."""
    return weighted_values(truth, p, np.vstack([np.ones((1, len(p))), weights]), 0.5, None)


def describe_training_images(folder: Path) -> None:
    """Print where the boxes lie in the training images, in shares of their side."""
    face_detector = FaceDetector()
    samples = random.Random(0).sample(scan(folder), SAMPLE)  # noqa: S311
    rows: list[tuple[float, ...]] = []
    for sample in track(samples, "Looking at training images"):
        rows += measured(read_image(sample.path), face_detector)
    print(f"\nA face was found in {len(rows)} of {SAMPLE} training images.\n")
    print("| | 5 % | 25 % | median | 75 % | 95 % |\n" + "| --- " * 6 + "|")
    for name, values in zip(MEASURES, np.array(rows).T, strict=True):
        shown = " | ".join(f"{v:.2f}" for v in np.percentile(values, [5, 25, 50, 75, 95]))
        print(f"| {name} | {shown} |")


def measured(
    image: npt.NDArray[np.uint8], face_detector: FaceDetector
) -> Iterator[tuple[float, ...]]:
    """Find the face of a small, tight crop: enlarged, with a black border around."""
    side, border = 160, 48
    large = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
    large = cv2.copyMakeBorder(large, border, border, border, border, cv2.BORDER_CONSTANT)
    for face in face_detector.detect(open_image(np.asarray(large, np.uint8)))[:1]:
        places = [(v - border) / side for v in (*box_middle(face), *features_middle(face))]
        (x0, y0), (x1, y1) = face.landmarks[:2]
        yield max(face.box[2:]) / side, *places, np.degrees(np.arctan2(y1 - y0, x1 - x0))


def main() -> None:
    """Print both tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("portraits", type=Path)
    arguments.add_argument("--training", type=Path, help="a dataset of crops, e.g. FER2013")
    chosen = arguments.parse_args()
    compare_on_portraits(chosen.portraits)
    if chosen.training:
        describe_training_images(chosen.training)


if __name__ == "__main__":
    main()
