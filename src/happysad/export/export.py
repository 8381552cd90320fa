"""Export a trained run: calibrate, convert, describe, and prove that nothing was lost."""

import hashlib
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt

from happysad import __version__
from happysad.classifier import Classifier, ModelInfo, Precision
from happysad.dataset.split import ManifestRow, read_manifest
from happysad.errors import DatasetError, ModelError
from happysad.export.calibration import THRESHOLD, choose_band, fit_temperature
from happysad.export.convert import float32_graph, logit_network, quantise
from happysad.export.metadata import add_metadata
from happysad.faces import CROP_MARGIN
from happysad.files import atomic, atomic_text
from happysad.image import fit_square, read_image
from happysad.progress import track
from happysad.training.network import load_network
from happysad.training.run import Run

MAX_LOSS: Final = 0.5
"""Points of accuracy that an export may lose."""

CHANCE: Final = 2
"""Images that it may lose in any case: among few images, fewer say nothing of the model."""

_REPRESENTATIVE: Final = 200
_BATCH: Final = 64


@dataclass(frozen=True, eq=False)
class Reference:
    """The Keras network on the validation crops: what every export is measured against.

    Attributes:
        crops: ``uint8 [N, S, S, 3]``, RGB, 0–255.
        labels: ``uint8 [N]``, 0 = sad, 1 = happy.
        probabilities: ``float64 [N]``, P(happy) with the temperature.
        temperature: Fitted on these crops, see `fit_temperature`.
        band: Chosen on these crops, see `choose_band`.
    """

    crops: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float64]
    temperature: float
    band: tuple[float, float]


@dataclass(frozen=True)
class ExportResult:
    """One precision, and how it compares with the Keras network on the validation crops.

    Attributes:
        precision: Which.
        path: Where the file is, or would be.
        kept: False if it was refused, because it lost more than `MAX_LOSS` points of accuracy
            (and more than `CHANCE` images).
        bytes: Size of the file.
        accuracy: Share of the crops it gets right, 0–1.
        change: Accuracy gained against Keras, in points (hundredths).
        agreement: Share of the crops on which both decide alike, 0–1.
        max_difference: Largest difference of P(happy).
        mean_difference: Mean absolute difference of P(happy).
        milliseconds: Median time for one crop on one thread.
    """

    precision: Precision
    path: Path
    kept: bool
    bytes: int
    accuracy: float
    change: float
    agreement: float
    max_difference: float
    mean_difference: float
    milliseconds: float


def export_run(
    path: Path, precisions: Sequence[Precision], *, force: bool = False
) -> list[ExportResult]:
    """Export a finished run into ``RUN/model-<precision>.tflite``.

    Temperature and uncertain band come from the validation split, int8's ranges from crops of the
    training split. ``RUN/export.json`` says how each file compares with the Keras network.

    Args:
        path: The run directory.
        precisions: Which to make.
        force: Keep a file that loses more than `MAX_LOSS` points of accuracy, too.

    Returns:
        One entry for each precision, in their order; look at ``kept``.

    Raises:
        ModelError: The run has no finished network, or Keras runs on a backend that cannot be
            converted.
        DatasetError: The run's images are not where they were, or have changed.
    """
    run = Run(path)
    for file in (run.environment_file, run.model):
        if not file.is_file():
            raise ModelError(
                f"{path}: not a finished run (no {file.name}); train one, or finish it with "
                "happysad train --resume"
            )
    network = load_network(run.model)
    environment, recipe = run.facts(), run.recipe()
    size = int(network.input_shape[1])
    folder, rows = Path(environment["dataset"]), read_manifest(run.manifest)
    validation = [row for row in rows if row.validation]
    training = _stratified([row for row in rows if not row.validation], _REPRESENTATIVE)
    representative = _read_crops(folder, training, size)
    reference = measure(
        network,
        _read_crops(folder, validation, size),
        np.array([row.label for row in validation], np.uint8),
        neither=any(stage.neither for stage in recipe.stages),
    )
    graph = float32_graph(network, reference.temperature)

    def export(precision: Precision) -> ExportResult:
        info = ModelInfo(
            input_size=size,
            crop_margin=CROP_MARGIN,
            crop_level=True,
            output="sigmoid",
            threshold=reference.band[1],
            temperature=reference.temperature,
            precision=precision,
            recipe=recipe.name,
            data_fingerprint=environment["fingerprint"],
            happysad=__version__,
            created=datetime.now(UTC).date().isoformat(),
        )
        # Of a weights file only the name: where it lay is nobody's business.
        settings = asdict(recipe) | {"weights": Path(recipe.weights).name}
        content = add_metadata(quantise(graph, precision, representative), info, settings)
        out = path / f"model-{precision}.tflite"
        return write_checked(content, reference, precision, out, force=force)

    exports = [export(precision) for precision in track(precisions, "Exporting")]
    summary = {
        "schema": 1,
        "happysad": __version__,
        "validation_images": len(validation),
        "temperature": reference.temperature,
        "threshold": reference.band[1],
        "exports": [as_json(entry) for entry in exports],
    }
    atomic_text(path / "export.json", json.dumps(summary, indent=2) + "\n")
    return exports


def measure(
    network: keras.Model,
    crops: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    neither: bool = False,
) -> Reference:
    """Run a network on the validation crops, and calibrate it there.

    Args:
        network: ``uint8 [N, S, S, 3]`` → P(happy), with a layer named ``logit``.
        crops: ``uint8 [N, S, S, 3]``.
        labels: ``uint8 [N]``, 0 = sad, 1 = happy.
        neither: See `choose_band`.
    """
    logits = logit_network(network).predict(crops, batch_size=_BATCH, verbose=0)[:, 0]
    temperature = fit_temperature(logits, labels)
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64) / temperature))
    band = choose_band(probabilities, neither)
    return Reference(crops, labels, probabilities, temperature, band)


def write_checked(
    content: bytes, reference: Reference, precision: Precision, out: Path, *, force: bool = False
) -> ExportResult:
    """Write a model file, unless it is worse than the network it came from.

    The file itself is what is opened and measured, as whoever deploys it will open it.

    Args:
        content: The file's bytes, with metadata.
        reference: What to compare with.
        precision: Of the file.
        out: Where it is to be; a file that is there is replaced.
        force: Write it in any case.
    """
    classifier = Classifier(content)
    probabilities = classifier.probabilities(reference.crops)
    ours, keras_ = probabilities >= THRESHOLD, reference.probabilities >= THRESHOLD
    accuracy = float(np.mean(ours == reference.labels))
    change = 100 * (accuracy - float(np.mean(keras_ == reference.labels)))
    difference = np.abs(probabilities - reference.probabilities)
    allowed = max(MAX_LOSS, 100 * CHANCE / len(reference.labels))
    kept = force or change >= -allowed - 1e-9
    if kept:
        with atomic(out) as temporary:
            temporary.write_bytes(content)
    return ExportResult(
        precision=precision,
        path=out,
        kept=kept,
        bytes=len(content),
        accuracy=accuracy,
        change=change,
        agreement=float(np.mean(ours == keras_)),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        milliseconds=_milliseconds(classifier, reference.crops[:1]),
    )


def as_json(entry: ExportResult) -> dict[str, Any]:
    """Turn an entry into what JSON can hold."""
    return asdict(entry) | {"path": str(entry.path)}


def _milliseconds(classifier: Classifier, crop: npt.NDArray[np.uint8]) -> float:
    times = []
    for _ in range(50):
        start = time.perf_counter()
        classifier.probabilities(crop)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def _stratified(rows: list[ManifestRow], count: int) -> list[ManifestRow]:
    """Choose rows by their hash, so that each class has its share: the same on every machine."""
    chosen: list[ManifestRow] = []
    for label in (0, 1):
        same = sorted((row for row in rows if row.label == label), key=lambda row: row.sha256)
        chosen += same[: max(1, round(count * len(same) / len(rows)))]
    return chosen


def _read_crops(folder: Path, rows: list[ManifestRow], size: int) -> npt.NDArray[np.uint8]:
    """Read the crops of a manifest's rows, ``uint8 [N, size, size, 3]``."""
    crops = np.empty((len(rows), size, size, 3), np.uint8)
    for i, row in enumerate(track(rows, "Reading images")):
        try:
            content = (folder / row.path).read_bytes()
        except OSError as error:
            raise DatasetError(
                f"{folder / row.path}: cannot be read ({error.strerror}); export needs the images "
                "of the run where they were when it was trained"
            ) from error
        if hashlib.sha256(content).hexdigest() != row.sha256:
            raise DatasetError(
                f"{folder / row.path}: has changed since the run was trained; put the old image "
                "back, or train again"
            )
        crops[i] = fit_square(read_image(content), size)
    return crops
