"""All figures of the released model that its card gives, as Markdown.

python benchmarks/release.py DATA --portraits shared/data/portraits [--model FILE]

DATA is what tools/release_data.py laid out. Measured are: the test set's happy and sad faces; its
faces of other emotions; the same faces in conditions that cameras and the web bring about; and
labelled photographs, from the image to the answer, upright and in such conditions. With --write
the first of these also go to docs/reliability.png and beside the released model, as figures.json.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from framing import person, person_weights

from happysad import Detector, released
from happysad.classifier import Classifier
from happysad.dataset.load import Dataset, load
from happysad.dataset.scan import scan
from happysad.evaluation.bootstrap import weighted_values
from happysad.evaluation.charts import plot_reliability
from happysad.evaluation.metrics import compute_metrics
from happysad.files import atomic_text
from happysad.image import RgbImage, read_image
from happysad.prediction import LABELS, Scores
from happysad.progress import track

FloatArray = npt.NDArray[np.float64]
Condition = Callable[[RgbImage, np.random.Generator], RgbImage]

FIGURES: Final = (
    "accuracy",
    "balanced_accuracy",
    "precision_happy",
    "recall_happy",
    "f1_happy",
    "precision_sad",
    "recall_sad",
    "f1_sad",
    "roc_auc",
    "ece",
    "brier",
    "uncertain",
    "decided_accuracy",
)


def _levels(image: RgbImage, function: Callable[[FloatArray], FloatArray]) -> RgbImage:
    table = function(np.arange(256, dtype=np.float64)).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table))


def blurred(image: RgbImage, rng: np.random.Generator) -> RgbImage:
    """Out of focus: a Gaussian of a fortieth of the face."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), len(image) / 40))


def noisy(image: RgbImage, rng: np.random.Generator) -> RgbImage:
    """Sensor noise: a standard deviation of 20 levels in every pixel."""
    noise = rng.normal(0, 20, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


def jpeg_20(image: RgbImage, rng: np.random.Generator) -> RgbImage:
    """JPEG at quality 20."""
    content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 20])[1]
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR))


def small(image: RgbImage, rng: np.random.Generator) -> RgbImage:
    """A face of 24 pixels."""
    height, width = image.shape[:2]
    scale = 24 / min(height, width)
    tiny = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(tiny, (width, height), interpolation=cv2.INTER_LINEAR))


def dark(image: RgbImage, rng: np.random.Generator) -> RgbImage:
    """A quarter of the light."""
    return _levels(image, lambda v: v / 4)


def washed_out(image: RgbImage, rng: np.random.Generator) -> RgbImage:
    """Against the light: 40 % of the contrast, in the upper half of the range."""
    return _levels(image, lambda v: 130 + 0.4 * v)


def rolled(image: RgbImage, degrees: float) -> RgbImage:
    """The head to one side."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return np.asarray(
        cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    )


def covered(image: RgbImage, top: float, bottom: float, left: float, right: float) -> RgbImage:
    """Cover a part of the face in grey; sides are fractions of the image's."""
    height, width = image.shape[:2]
    out = image.copy()
    out[int(top * height) : int(bottom * height), int(left * width) : int(right * width)] = 128
    return out


def tinted(image: RgbImage, rng: np.random.Generator) -> RgbImage:
    """Incandescent light: little blue, much red."""
    return (image * [1.0, 0.8, 0.5]).astype(np.uint8)


def grey(image: RgbImage, rng: np.random.Generator) -> RgbImage:
    """Without colour."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


CONDITIONS: Final[dict[str, Condition]] = {
    "as it is": lambda image, rng: image,
    "mirrored": lambda image, rng: np.ascontiguousarray(image[:, ::-1]),
    "blur": blurred,
    "noise": noisy,
    "JPEG, quality 20": jpeg_20,
    "24 pixels": small,
    "a quarter of the light": dark,
    "washed out": washed_out,
    "rolled by 30°": lambda image, rng: rolled(image, float(rng.choice([-30, 30]))),
    "upper third covered": lambda image, rng: covered(image, 0, 1 / 3, 0, 1),
    "left third covered": lambda image, rng: covered(image, 0, 1, 0, 1 / 3),
    "lower third covered": lambda image, rng: covered(image, 2 / 3, 1, 0, 1),
    "lamplight": tinted,
    "grey": grey,
}


def test_set(classifier: Classifier, data: Dataset, write: bool) -> None:
    """Print the figures of the test set's happy and sad faces."""
    two = data.labels < len(LABELS)
    scores = classifier.scores(data.crops[two])
    p = scores[:, 1] / scores.sum(axis=1)
    uncertain = scores.max(axis=1) < classifier.info.threshold
    metrics = compute_metrics(data.labels[two], p, uncertain=uncertain)
    print(f"\n## Test set: {two.sum()} happy and sad faces\n")
    print("| figure | value | 95 % interval |\n| --- | --- | --- |")
    for name in FIGURES:
        figure = metrics.figures[name]
        print(f"| {name} | {figure.value:.4f} | {figure.low:.4f}–{figure.high:.4f} |")
    (sad, sad_happy), (happy_sad, happy) = metrics.confusion
    if write:
        kept = {name: asdict(metrics.figures[name]) for name in FIGURES}
        atomic_text(released.FOLDER / released.FIGURES, json.dumps(kept, indent=1) + "\n")
        plot_reliability(data.labels[two], p.astype(float), metrics, Path("docs/reliability.png"))
    print(f"\nsad {sad} right, {sad_happy} called happy; happy {happy} right, {happy_sad} sad")


def other_emotions(classifier: Classifier, data: Dataset) -> None:
    """Print the labels of faces that are neither."""
    print("\n## Faces of other emotions\n")
    print("| face | faces | called sad | uncertain | called happy | median P(happy) |")
    print("| --- | --- | --- | --- | --- | --- |")
    for number, name in enumerate(data.classes):
        scores = classifier.scores(data.crops[data.labels == number]).tolist()
        p = [Scores(happy, sad).probability for sad, happy in scores]
        labels = [classifier.label(Scores(happy, sad)) for sad, happy in scores]
        shares = " | ".join(
            f"{labels.count(label) / len(p):.1%}" for label in ("sad", "uncertain", "happy")
        )
        print(f"| {name} | {len(p)} | {shares} | {np.median(p):.2f} |")


def robustness(classifier: Classifier, data: Dataset) -> None:
    """Print what conditions do to the test set's crops, altered at the model's input size."""
    two = data.labels < len(LABELS)
    print("\n## Test set in conditions\n")
    print("| condition | accuracy | balanced accuracy | ROC-AUC | uncertain |")
    print("| --- | --- | --- | --- | --- |")
    for name, condition in CONDITIONS.items():
        rng = np.random.default_rng(0)
        crops = np.stack([condition(crop, rng) for crop in data.crops[two]])
        print(f"| {name} | {_row(data.labels[two], classifier.scores(crops), classifier)} |")


def _row(truth: npt.NDArray[np.uint8], scores: npt.ArrayLike, classifier: Classifier) -> str:
    sad, happy = np.asarray(scores, np.float64).T
    values = weighted_values(truth, happy / (happy + sad), np.ones((1, len(truth))), 0.5, None)
    uncertain = np.mean(np.maximum(sad, happy) < classifier.info.threshold)
    figures = " | ".join(
        f"{values[name][0]:.3f}" for name in ("accuracy", "balanced_accuracy", "roc_auc")
    )
    return f"{figures} | {uncertain:.1%}"


def portraits(detector: Detector, folder: Path, conditions: bool) -> None:
    """Print the figures of photographs, from the image to the answer."""
    classifier = detector.classifier
    samples = scan(folder)
    images = [read_image(sample.path) for sample in samples]
    truth = np.array([sample.label for sample in samples], np.uint8)
    colour = np.array([np.ptp(image.astype(int), axis=2).mean() >= 3 for image in images])
    weights = person_weights([person(sample.path) for sample in samples])
    print(f"\n## Portraits: {len(truth)} photographs, {colour.sum()} of them in colour\n")
    names = list(CONDITIONS) if conditions else ["as it is"]
    answers: dict[str, FloatArray] = {}
    for name in names:
        rng = np.random.default_rng(0)
        said = []
        for image in track(images, name):
            faces = detector.predict(CONDITIONS[name](image, rng))
            said.append((faces[0].scores.sad, faces[0].scores.happy) if faces else (np.nan,) * 2)
        answers[name] = np.array(said)
    plain = answers["as it is"][:, 1] / answers["as it is"].sum(axis=1)
    found = ~np.isnan(plain)
    groups = (("all", found), ("colour", found & colour), ("grey", found & ~colour))
    print("| | photographs | balanced accuracy | 95 %, by person | accuracy | ROC-AUC | ECE |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for group, which in groups:
        rows = np.vstack([np.ones((1, which.sum())), weights[:, which]])
        values = weighted_values(truth[which], plain[which], rows, 0.5, None)
        low, high = np.nanpercentile(values["balanced_accuracy"][1:], [2.5, 97.5])
        print(
            f"| {group} | {which.sum()} | {values['balanced_accuracy'][0]:.3f} "
            f"| {low:.3f}–{high:.3f} | {values['accuracy'][0]:.3f} "
            f"| {values['roc_auc'][0]:.3f} | {values['ece'][0]:.3f} |"
        )
    if conditions:
        print("\n| condition | no face | accuracy | balanced accuracy | ROC-AUC | uncertain |")
        print("| --- | --- | --- | --- | --- | --- |")
        for name, scores in answers.items():
            seen = ~np.isnan(scores[:, 0])
            row = _row(truth[seen], scores[seen], classifier)
            print(f"| {name} | {(~seen).sum()} | {row} |")


def main() -> None:
    """Print every section."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--portraits", type=Path)
    arguments.add_argument("--model", type=Path, help="else the released one")
    arguments.add_argument("--write", action="store_true")
    options = arguments.parse_args()
    detector = Detector(options.model)
    classifier = detector.classifier
    data = load(options.data / "test", classifier.info.input_size, others=True)
    test_set(classifier, data, options.write)
    other_emotions(classifier, data)
    robustness(classifier, data)
    if options.portraits:
        portraits(detector, options.portraits, conditions=True)


if __name__ == "__main__":
    main()
