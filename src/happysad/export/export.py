"""Export a trained run: calibrate, convert, add metadata, and compare with Keras."""

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
from happysad.crops import CROP_MARGIN, fit_square
from happysad.dataset.split import ManifestRow, read_manifest
from happysad.errors import DatasetError, ModelError
from happysad.evaluation.votes import CLEAR
from happysad.export.calibration import calibrated_scores, choose_threshold, fit_temperature
from happysad.export.comparison import Comparison, compare
from happysad.export.convert import float32_graph, float_blocks_of, logit_network, quantise
from happysad.export.metadata import add_metadata
from happysad.files import atomic, atomic_text, convert_os_errors
from happysad.image import read_image
from happysad.prediction import LABELS
from happysad.progress import track
from happysad.training.network import load_network
from happysad.training.reliability import validation_warnings
from happysad.training.run import Run
from happysad.training.targets import mostly_happy_or_sad

_REPRESENTATIVE: Final = 200
_BATCH: Final = 64


@dataclass(frozen=True, eq=False)
class Reference:
    """The Keras network's results on the validation crops, to compare exports with.

    Attributes:
        crops: ``uint8 [N, S, S, 3]``, RGB, 0–255: faces mostly called happy or sad.
        labels: ``uint8 [N]``, 0 = sad, 1 = happy.
        scores: ``float64 [N, 2]``, P(sad) and P(happy), calibrated.
        temperature: See `fit_temperature`.
        threshold: See `choose_threshold`.
    """

    crops: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    scores: npt.NDArray[np.float64]
    temperature: float
    threshold: float

    @property
    def decisions(self) -> npt.NDArray[np.bool_]:
        """``bool [N]``: whether P(happy) is the larger score."""
        decisions: npt.NDArray[np.bool_] = self.scores[:, 1] >= self.scores[:, 0]
        return decisions


@dataclass(frozen=True)
class ExportResult:
    """One exported file, compared with the Keras network on the validation crops.

    Attributes:
        precision: Which.
        path: Where the file is, or would be.
        kept: False if it was refused, see `Comparison.acceptable`.
        bytes: Size of the file.
        accuracy: Share of the crops that it labels correctly, 0–1.
        comparison: Images that it lost and won against Keras.
        agreement: Share of the crops that both label the same, 0–1.
        max_difference: Largest difference of P(happy).
        mean_difference: Mean absolute difference of P(happy).
        milliseconds: Median time for one crop on one thread.
    """

    precision: Precision
    path: Path
    kept: bool
    bytes: int
    accuracy: float
    comparison: Comparison
    agreement: float
    max_difference: float
    mean_difference: float
    milliseconds: float


@dataclass(frozen=True)
class ExportSummary:
    """The exports of a run.

    Attributes:
        exports: One entry for each precision, in the order they were given.
        warnings: What makes the validation results unreliable; see `validation_warnings`.
    """

    exports: list[ExportResult]
    warnings: list[str]


def export_run(
    path: Path, precisions: Sequence[Precision], *, force: bool = False
) -> ExportSummary:
    """Export a finished run into ``RUN/model-<precision>.tflite``.

    Temperature and threshold are fitted on the validation split, int8's ranges on crops of the
    training split. ``RUN/export.json`` holds the comparison of each file with the Keras network,
    also of files that earlier calls exported from the same network.

    Args:
        path: The run directory.
        precisions: Which to export.
        force: Also keep files that lose accuracy significantly.

    Returns:
        The exports; check ``kept`` of each.

    Raises:
        ModelError: The run is not finished, its training has diverged, or Keras does not run on
            TensorFlow.
        DatasetError: The run's images are missing or have changed, or no validation image is
            mostly called happy or sad.
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
    folder = Path(environment["dataset"])
    rows = read_manifest(run.manifest, others=recipe.others)
    validation = [row for row in rows if row.validation]
    training = _stratified([row for row in rows if not row.validation], _REPRESENTATIVE)
    representative = _read_crops(folder, training, size)
    shares = np.array([row.shares for row in validation])
    reference = measure(network, _read_crops(folder, validation, size), shares)
    graph = float32_graph(network, reference.temperature)

    def export(precision: Precision) -> ExportResult:
        info = ModelInfo(
            input_size=size,
            crop_margin=CROP_MARGIN,
            crop_level=True,
            output="sigmoid" if network.output_shape[-1] == 1 else "softmax",
            threshold=reference.threshold,
            temperature=reference.temperature,
            precision=precision,
            recipe=recipe.name,
            data_fingerprint=environment["fingerprint"],
            happysad=__version__,
            created=datetime.now(UTC).date().isoformat(),
        )
        # Only the name of a weights file: its location is private.
        settings = asdict(recipe) | {"weights": Path(recipe.weights).name}
        quantised = quantise(graph, precision, representative, float_blocks_of(recipe))
        content = add_metadata(quantised, info, settings)
        out = path / f"model-{precision}.tflite"
        return write_checked(content, reference, precision, out, force=force)

    exports = [export(precision) for precision in track(precisions, "Exporting")]
    accuracy = float(np.mean(reference.decisions == reference.labels))
    warnings = validation_warnings(accuracy, reference.labels)
    sha256 = hashlib.sha256(run.model.read_bytes()).hexdigest()
    earlier = _earlier_exports(path, sha256, precisions)
    summary = {
        "schema": 2,
        "happysad": __version__,
        "network": sha256,
        "validation_images": len(validation),
        "temperature": reference.temperature,
        "threshold": reference.threshold,
        "warnings": warnings,
        "exports": [*earlier, *(as_json(entry) for entry in exports)],
    }
    atomic_text(path / "export.json", json.dumps(summary, indent=2) + "\n")
    return ExportSummary(exports, warnings)


def _earlier_exports(
    path: Path, network: str, replaced: Sequence[Precision]
) -> list[dict[str, Any]]:
    """Return export.json's entries of other precisions whose files are of the same network."""
    file = path / "export.json"
    if not file.is_file():
        return []
    try:
        summary = json.loads(file.read_bytes())
    except ValueError:
        # Damaged: it is replaced.
        return []
    if not isinstance(summary, dict) or summary.get("network") != network:
        return []
    return [
        entry
        for entry in summary["exports"]
        if entry["precision"] not in replaced
        and (path / f"model-{entry['precision']}.tflite").is_file()
    ]


def measure(
    network: keras.Model, crops: npt.NDArray[np.uint8], shares: npt.NDArray[np.float64]
) -> Reference:
    """Run a network on the validation crops, and calibrate it there.

    Args:
        network: As `build_network` makes it.
        crops: ``uint8 [N, S, S, 3]``.
        shares: ``[N, 3]``: shares of people who call the face sad, happy, neither.

    Raises:
        ModelError: Outputs are not numbers.
        DatasetError: No crop is mostly called happy or sad.
    """
    two, labels = mostly_happy_or_sad(shares)
    if not len(labels):
        raise DatasetError(
            "no validation image is mostly called happy or sad, so an export cannot be compared "
            "with its network; train with more such images"
        )
    logits = logit_network(network).predict(crops, batch_size=_BATCH, verbose=0)
    if wrong := int((~np.isfinite(logits).all(axis=1)).sum()):
        raise ModelError(
            f"{wrong} of the network's {len(logits)} outputs are not numbers; the training "
            "diverged or the file is damaged; train again"
        )
    temperature = fit_temperature(logits, shares)
    scores = calibrated_scores(logits, temperature)
    clear = shares[:, : len(LABELS)].max(axis=1) >= CLEAR
    threshold = choose_threshold(scores[clear if clear.any() else two], neither=logits.shape[1] > 1)
    return Reference(crops[two], labels, scores[two], temperature, threshold)


def write_checked(
    content: bytes, reference: Reference, precision: Precision, out: Path, *, force: bool = False
) -> ExportResult:
    """Write a model file, unless it is significantly worse than its network.

    A refused file is not written, and an earlier one of the same name is removed.

    Args:
        content: The file's bytes, with metadata.
        reference: What to compare with.
        precision: Of the file.
        out: The file to write; an existing file is replaced.
        force: Write it in any case.
    """
    classifier = Classifier(content)
    scores = classifier.scores(reference.crops)
    decisions = scores[:, 1] >= scores[:, 0]
    comparison = compare(reference.decisions, decisions, reference.labels)
    difference = np.abs(scores[:, 1] - reference.scores[:, 1])
    kept = force or comparison.acceptable
    if kept:
        with atomic(out) as temporary:
            temporary.write_bytes(content)
    else:
        with convert_os_errors(out):
            out.unlink(missing_ok=True)
    return ExportResult(
        precision=precision,
        path=out,
        kept=kept,
        bytes=len(content),
        accuracy=float(np.mean(decisions == reference.labels)),
        comparison=comparison,
        agreement=float(np.mean(decisions == reference.decisions)),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        milliseconds=_milliseconds(classifier, reference.crops[:1]),
    )


def as_json(entry: ExportResult) -> dict[str, Any]:
    """Convert an entry to JSON values."""
    compared = asdict(entry.comparison) | {"loss": entry.comparison.loss}
    return asdict(entry) | {"path": str(entry.path), "comparison": compared}


def _milliseconds(classifier: Classifier, crop: npt.NDArray[np.uint8]) -> float:
    times = []
    for _ in range(50):
        start = time.perf_counter()
        classifier.probabilities(crop)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def _stratified(rows: list[ManifestRow], count: int) -> list[ManifestRow]:
    """Choose rows by hash, each class in proportion: the same ones on every machine."""
    chosen: list[ManifestRow] = []
    for label in sorted({row.label for row in rows}):
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
                f"{folder / row.path}: cannot be read ({error.strerror}); export needs the run's "
                "images where they were during training"
            ) from error
        if hashlib.sha256(content).hexdigest() != row.sha256:
            raise DatasetError(
                f"{folder / row.path}: has changed since the run was trained; restore the image, "
                "or train again"
            )
        crops[i] = fit_square(read_image(content), size)
    return crops
