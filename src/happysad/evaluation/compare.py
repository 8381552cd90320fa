"""Comparison of several models on one dataset.

The output folder holds each model's evaluation, in a folder of its own, and

* ``comparison.json``: for each metric its value by model and, against the first model, the
  differences with their paired 95 % intervals; for each other model on how many images only one of
  the two is right;
* ``differences.png``: the images about which the models differ;
* ``comparison.html``: all of it for people, in one file.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from happysad.crops import fit_square
from happysad.errors import DatasetError, HappysadError
from happysad.evaluation.evaluate import Evaluation, evaluate, utf8
from happysad.evaluation.metrics import Difference, paired_difference
from happysad.evaluation.report import DIFFERENCES, write_comparison
from happysad.files import atomic_text
from happysad.image import read_image
from happysad.plots import contact_sheet
from happysad.prediction import LABELS

_SHOWN: Final = 24
_THRESHOLD: Final = 0.5


@dataclass(frozen=True)
class Comparison:
    """Several models on one dataset.

    Attributes:
        names: A name for each model.
        evaluations: The evaluation of each model.
        differences: Each model but the first against the first.
        report: Path of the HTML report.
    """

    names: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    differences: tuple[Difference, ...]
    report: Path


def compare_models(
    models: Sequence[Path], dataset: Path, out: Path, *, strict: bool = False, images: bool = True
) -> Comparison:
    """Evaluate models on a dataset and compare each with the first one.

    Args:
        models: Two or more; see `happysad.evaluation.evaluate.evaluate`.
        dataset: Folder with ``happy/`` and ``sad/``.
        out: Output folder; created if missing.
        strict: Refuse a dataset with unreadable images instead of skipping them.
        images: Show images; otherwise no output contains a face.

    Raises:
        ModelError: A model cannot be read, or its outputs are not numbers.
        DatasetError: The dataset cannot be read, lacks a class, or changed in between.
        HappysadError: A model was given twice.
    """
    names = _names(models)
    evaluations = tuple(
        evaluate(model, dataset, out / name, strict=strict, images=images)
        for model, name in zip(models, names, strict=True)
    )
    first = evaluations[0]
    if any(each.paths != first.paths for each in evaluations):
        raise DatasetError(f"{dataset}: changed during the evaluation; evaluate again")
    differences = tuple(
        paired_difference(first.labels, first.probabilities, other.probabilities)
        for other in evaluations[1:]
    )
    comparison = Comparison(names, evaluations, differences, out / "comparison.html")
    facts = {
        "schema": 1,
        "dataset": first.facts["dataset"],
        "models": [
            {**each.facts["model"], "name": name}
            for name, each in zip(names, evaluations, strict=True)
        ],
        "figures": {
            name: [each.metrics.figures[name].value for each in evaluations]
            for name in differences[0].metrics
        },
        "differences": [asdict(difference) for difference in differences],
    }
    atomic_text(out / "comparison.json", json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    (out / DIFFERENCES).unlink(missing_ok=True)
    if images:
        _draw_differences(comparison, out / DIFFERENCES)
    metrics = [each.metrics for each in evaluations]
    write_comparison(out, names, metrics, differences, first.facts["dataset"])
    return comparison


def _names(models: Sequence[Path]) -> tuple[str, ...]:
    """Name each model by the last parts of its path that tell all apart."""
    paths = [model.resolve() for model in models]
    for model, path in zip(models, paths, strict=True):
        if paths.count(path) > 1:
            raise HappysadError(f"{model}: is given twice; name each model once")
    # Without the root, which would make a name an absolute path.
    whole = [path.relative_to(path.anchor) for path in paths]
    for parts in ([path.with_suffix("").parts for path in whole], [path.parts for path in whole]):
        for count in range(1, max(map(len, parts)) + 1):
            names = tuple(utf8("-".join(each[-count:])) for each in parts)
            if len(set(names)) == len(names):
                return names
    return tuple(utf8(f"{number}-{path.name}") for number, path in enumerate(paths, start=1))


def _draw_differences(comparison: Comparison, path: Path) -> None:
    """Draw the images whose labels differ, the largest difference of probability first."""
    probabilities = np.stack([each.probabilities for each in comparison.evaluations])
    called = probabilities >= _THRESHOLD
    differ = np.flatnonzero(called.any(axis=0) & ~called.all(axis=0))
    spread = probabilities.max(axis=0) - probabilities.min(axis=0)
    chosen = differ[np.argsort(-spread[differ], kind="stable")][:_SHOWN]
    if not len(chosen):
        return
    first = comparison.evaluations[0]
    captions = [
        f"{LABELS[first.labels[i]]}: {', '.join(f'{p:.2f}' for p in probabilities[:, i])}"
        for i in chosen
    ]
    size = first.facts["model"]["input_size"]
    crops = [fit_square(read_image(first.paths[i]), size) for i in chosen]
    title = f"True label: P(happy) by {', '.join(comparison.names)}"
    contact_sheet(crops, captions, path, columns=6, title=title)
