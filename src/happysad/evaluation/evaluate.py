"""Evaluation of a model on a dataset.

The output folder holds:

* ``metrics.json``, for programs::

    schema       2; increases with every incompatible change
    happysad     version that wrote it
    model        name, kind ("keras" or "tflite"), sha256, bytes, input_size
    dataset      name, fingerprint, sad, happy (counts), skipped ([{path, reason}, …], also of
                 the faces that only ``votes`` concerns), seen (images whose bytes are also in the
                 run's split.csv; null for a model outside a run)
    threshold    probability from which a face counts as happy
    label_threshold  a face whose scores are both below it is "uncertain"; null if there is none
    confusion    {true label: {predicted label: count}}
    figures      {name: {value, low, high}}: the metrics of `Metrics` and their 95 % intervals;
                 null where a metric is not defined
    votes        the metrics of `VoteMetrics`; only for datasets with votes for a readable image
    slices       column, values (the fields of `Slice`); only with ``--by``

* ``predictions.csv``: path, label, probability (of happy), prediction;
* charts as PNG and SVG: ``confusion``, ``roc``, ``precision-recall``, ``reliability``,
  ``thresholds``; and, if there are any, ``mistakes.png`` and ``contested.png``;
* ``report.html``: all of it for people, in one file.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

import happysad
from happysad.dataset.load import Dataset, Skipped, load
from happysad.dataset.scan import check_outside
from happysad.dataset.split import read_manifest
from happysad.dataset.votes import VOTES_FILE
from happysad.errors import ModelError
from happysad.evaluation import charts
from happysad.evaluation.metrics import Metrics, compute_metrics
from happysad.evaluation.mistakes import Mistake, most_confident, plot_mistakes
from happysad.evaluation.model import LoadedModel, open_model
from happysad.evaluation.report import CONTESTED, write_report
from happysad.evaluation.slices import compute_slices, read_column
from happysad.evaluation.votes import most_contested, vote_metrics
from happysad.files import atomic_csv, atomic_text
from happysad.plots import contact_sheet
from happysad.prediction import LABELS
from happysad.progress import track
from happysad.training.run import Run

_BATCH: Final = 64
_MISTAKES: Final = 12
_CONTESTED: Final = 18


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        metrics: The metrics.
        facts: The content of ``metrics.json``.
        report: Path of the HTML report.
        paths: Each image's file.
        labels: ``uint8 [N]``, 0 = sad, 1 = happy.
        probabilities: ``float64 [N]``, P(happy).
    """

    metrics: Metrics
    facts: dict[str, Any]
    report: Path
    paths: list[Path]
    labels: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float64]

    @property
    def skipped(self) -> int:
        """Number of images that were skipped."""
        return len(self.facts["dataset"]["skipped"])


def evaluate(
    model: Path,
    dataset: Path,
    out: Path,
    *,
    by: str | None = None,
    strict: bool = False,
    images: bool = True,
) -> Evaluation:
    """Evaluate a model on a dataset; write metrics, predictions, charts and the report.

    Args:
        model: A run directory, a ``.keras`` file or a ``.tflite`` file.
        dataset: Folder with ``happy/`` and ``sad/``.
        out: Output folder; created if missing, files of an earlier evaluation are replaced.
        by: A column of the dataset's ``groups.csv``; metrics are also computed for each value.
        strict: Refuse a dataset with unreadable images instead of skipping them.
        images: Show the most confident mistakes; otherwise no output contains a face.

    Returns:
        The metrics and the path of the report.

    Raises:
        ModelError: The model cannot be read, or its outputs are not numbers.
        DatasetError: The dataset cannot be read, or lacks a class or the column.
    """
    check_outside(dataset, out)
    loaded = open_model(model)
    data = load(dataset, loaded.input_size, strict=strict)
    labels = np.asarray(data.labels, dtype=np.uint8)
    scores = _score(loaded, data.crops)
    probabilities = scores[:, 1] / np.maximum(scores.sum(axis=1), 1e-9)
    uncertain = None if loaded.threshold is None else scores.max(axis=1) < loaded.threshold
    metrics = compute_metrics(labels, probabilities, uncertain=uncertain)
    names = [_name(sample.path, data.folder) for sample in data.samples]
    facts = _facts(loaded, data, metrics)
    if by is not None:
        slices = compute_slices(read_column(dataset, names, by), labels, probabilities, uncertain)
        facts["slices"] = {"column": by, "values": [asdict(each) for each in slices]}
    mistakes = _mistakes(loaded, data, names, probabilities) if images else []
    (out / CONTESTED).unlink(missing_ok=True)
    votes, skipped = _votes(loaded, dataset, out / CONTESTED if images else None, strict)
    # An image that is skipped for both is named once.
    every = {each.path: each for each in (*skipped, *data.skipped)}.values()
    facts["dataset"]["skipped"] = _skipped(every, data.folder)
    if votes:
        facts["votes"] = votes

    atomic_text(out / "metrics.json", json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    _write_predictions(out / "predictions.csv", names, labels, probabilities, uncertain)
    _draw(out, labels, probabilities, metrics, mistakes)
    thousandths = np.floor(probabilities * 1000).clip(0, 1000).astype(int)
    counts = {
        name: np.bincount(thousandths[labels == label], minlength=1001).tolist()
        for label, name in enumerate(LABELS)
    }
    run = loaded.path.parent if Run(loaded.path.parent).history.is_file() else None
    write_report(out, metrics, facts, counts, mistakes if images else None, run)
    paths = [sample.path for sample in data.samples]
    return Evaluation(metrics, facts, out / "report.html", paths, labels, probabilities)


def _score(model: LoadedModel, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    starts = range(0, len(crops), _BATCH)
    parts = [model.scores(np.asarray(crops[i : i + _BATCH])) for i in track(starts, "Predicting")]
    scores = np.concatenate(parts).astype(np.float64)
    if wrong := int((~np.isfinite(scores).all(axis=1)).sum()):
        raise ModelError(
            f"{model.path}: {wrong} of {len(scores)} outputs are NaN; "
            "the training diverged or the file is damaged; train or export again"
        )
    return scores


def _votes(
    model: LoadedModel, dataset: Path, gallery: Path | None, strict: bool
) -> tuple[dict[str, Any] | None, list[Skipped]]:
    """Return metrics by votes of all faces that have some, and what was skipped.

    The most contested faces are drawn.
    """
    if not (dataset / VOTES_FILE).is_file():
        return None, []
    data = load(dataset, model.input_size, others=True, strict=strict)
    chosen = [i for i, sample in enumerate(data.samples) if sample.shares is not None]
    if not chosen:
        return None, data.skipped
    shares = data.shares[chosen].astype(np.float64)
    scores = _score(model, np.stack([data.crops[i] for i in chosen]))
    if gallery:
        contested = most_contested(shares, _CONTESTED)
    if gallery and contested:
        crops = np.stack([data.crops[chosen[i]] for i in contested])
        captions = [
            f"votes {_percents(shares[i, 1], shares[i, 0])}\nscores "
            f"{_percents(scores[i, 1], scores[i, 0])}"
            for i in contested
        ]
        title = "Most contested faces: shares of happy, sad"
        contact_sheet(crops, captions, gallery, columns=6, title=title)
    return asdict(vote_metrics(shares, scores, model.threshold)), data.skipped


def _percents(*values: float) -> str:
    return ", ".join(f"{value:.0%}" for value in values)


def _mistakes(
    model: LoadedModel, data: Dataset, names: Sequence[str], p: npt.NDArray[np.float64]
) -> list[Mistake]:
    labels = np.asarray(data.labels, dtype=np.uint8)
    chosen = most_confident(labels, p, 0.5, _MISTAKES)
    crops = [np.asarray(data.crops[i]) for i in chosen]
    heats: Sequence[npt.NDArray[np.float32] | None] = [None] * len(chosen)
    if chosen and model.network is not None:
        from happysad.evaluation.gradcam import grad_cam

        heats = list(grad_cam(model.network, np.stack(crops)))
    return [
        Mistake(names[i], crop, int(labels[i]), float(p[i]), heat)
        for i, crop, heat in zip(chosen, crops, heats, strict=True)
    ]


def _facts(model: LoadedModel, data: Dataset, metrics: Metrics) -> dict[str, Any]:
    content = model.path.read_bytes()
    file = model.path.resolve()
    return {
        "schema": 2,
        "happysad": happysad.__version__,
        "model": {
            "name": utf8(f"{file.parent.name}/{file.name}"),
            "kind": file.suffix[1:],
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "input_size": model.input_size,
        },
        "dataset": {
            "name": utf8(data.folder.resolve().name),
            "fingerprint": data.fingerprint,
            "sad": metrics.sad,
            "happy": metrics.happy,
            "skipped": _skipped(data.skipped, data.folder),
            "seen": _seen(Run(model.path.parent), data.sha256),
        },
        "threshold": metrics.threshold,
        "label_threshold": model.threshold,
        "confusion": {
            true: dict(zip(LABELS, row, strict=True))
            for true, row in zip(LABELS, metrics.confusion, strict=True)
        },
        "figures": {name: asdict(estimate) for name, estimate in metrics.figures.items()},
    }


def _skipped(skipped: Iterable[Skipped], folder: Path) -> list[dict[str, str]]:
    return [{"path": _name(each.path, folder), "reason": utf8(each.reason)} for each in skipped]


def _seen(run: Run, sha256: Sequence[str]) -> int | None:
    """Count the images that the run trained or validated on."""
    # A file outside a run may have another program's split.csv beside it.
    if not (run.recipe_file.is_file() and run.manifest.is_file()):
        return None
    known = {row.sha256 for row in read_manifest(run.manifest, others=True)}
    return sum(digest in known for digest in sha256)


def _name(path: Path, folder: Path) -> str:
    return utf8(path.relative_to(folder).as_posix())


def utf8(name: str) -> str:
    """Replace the bytes of a file name that are not UTF-8, which Linux allows."""
    return os.fsencode(name).decode("utf-8", "replace")


def _write_predictions(
    path: Path,
    names: Sequence[str],
    labels: npt.NDArray[np.uint8],
    probabilities: npt.NDArray[np.float64],
    uncertain: npt.NDArray[np.bool_] | None,
) -> None:
    abstained = np.zeros(len(names), bool) if uncertain is None else uncertain

    def row(name: str, label: int, p: float, abstain: bool) -> tuple[str, str, str, str]:
        prediction = "uncertain" if abstain else LABELS[int(p >= 0.5)]
        return name, LABELS[label], f"{p:.6f}", prediction

    rows = map(row, names, labels.tolist(), probabilities.tolist(), abstained.tolist())
    atomic_csv(path, ("path", "label", "probability", "prediction"), rows)


def _draw(
    out: Path,
    labels: npt.NDArray[np.uint8],
    p: npt.NDArray[np.float64],
    metrics: Metrics,
    mistakes: Sequence[Mistake],
) -> None:
    charts.plot_confusion(metrics, out / "confusion.png")
    charts.plot_roc(labels, p, metrics, out / "roc.png")
    charts.plot_precision_recall(labels, p, metrics, out / "precision-recall.png")
    charts.plot_reliability(labels, p, metrics, out / "reliability.png")
    charts.plot_thresholds(labels, p, metrics, out / "thresholds.png")
    if mistakes:
        plot_mistakes(mistakes, out / "mistakes.png")
    else:
        # Otherwise the file of an earlier evaluation would remain.
        (out / "mistakes.png").unlink(missing_ok=True)
