"""Train a network on a dataset and write a run directory."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from happysad import released
from happysad.dataset.load import Dataset, load
from happysad.dataset.scan import check_outside, scan, without_excluded
from happysad.dataset.split import SIDES, read_manifest, split, write_manifest
from happysad.errors import DatasetError, RecipeError
from happysad.files import atomic, atomic_csv
from happysad.image import RgbImage
from happysad.plots import contact_sheet, plot_history
from happysad.training.augmentation import augment
from happysad.training.checkpoint import Epoch, Progress
from happysad.training.fit import Data, fit
from happysad.training.network import build_network, see_in_grey
from happysad.training.recipe import Recipe
from happysad.training.reliability import validation_warnings
from happysad.training.run import Run
from happysad.training.targets import make_targets, mostly_happy_or_sad

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training.

    Attributes:
        run: The run directory.
        best: The epoch whose weights were kept.
        training: Number of training images that were used.
        validation: Number of validation images that were used.
        skipped: Number of images that were skipped.
        excluded: Number of images that were excluded on request.
        warnings: What makes the validation metrics unreliable: see `validation_warnings`, or a loss
            that is not finite.
    """

    run: Path
    best: Epoch
    training: int
    validation: int
    skipped: int
    excluded: int = 0
    warnings: list[str] = field(default_factory=list)


def train(
    dataset_folder: Path,
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    strict: bool = False,
    group_pattern: str | None = None,
    exclude: Path | None = None,
    on_epoch: Callable[[Epoch], None] = lambda row: None,
) -> TrainingResult:
    """Train a network by a recipe.

    After an interruption, the same call with ``resume=True`` continues after the last finished
    epoch, with the same result. On one machine the same seed gives the same network.

    Args:
        dataset_folder: A folder with ``happy/`` and ``sad/``.
        recipe: The recipe.
        out: The run directory to create; it must not contain another run.
        resume: Continue the run in ``out``, if there is one.
        strict: Refuse a dataset with an image that cannot be read.
        group_pattern: Regular expression for the part of a file name that identifies the person;
            a person's images stay on one side of the split.
        exclude: A CSV file with the column ``path``: images of the dataset that are not used.
        on_epoch: Called with each finished epoch.

    Returns:
        The best epoch, counts and warnings.

    Raises:
        DatasetError: The dataset cannot be trained on, or it or its groups have changed since the
            run began.
        RecipeError: ``out`` contains another run, or was begun with other initial weights.
        ModelError: The initial weights are not available.
    """
    # Before anything slow, such as a download of weights.
    check_outside(dataset_folder, out)
    samples = listed = scan(dataset_folder, group_pattern=group_pattern, others=recipe.others)
    if exclude is not None:
        samples = without_excluded(dataset_folder, listed, exclude)
    run = Run(out)
    run.begin(recipe, dataset_folder, resume)
    begun_with, weights_sha256 = run.facts(), _weights_sha256(recipe)
    if begun_with.get("weights_sha256") not in (None, weights_sha256):
        raise RecipeError(
            f"{out}: was begun with other initial weights ({recipe.weights} has changed since, or "
            "is missing); give another --out"
        )
    network = None
    if not run.finished:
        keras.utils.set_random_seed(recipe.seed)
        network = build_network(
            recipe.input_size,
            dense=recipe.dense,
            dropout=recipe.dropout,
            weights=recipe.weights,
            output=recipe.output,
        )
    dataset = load(
        dataset_folder,
        recipe.input_size,
        store=run.crops,
        strict=strict,
        others=recipe.others,
        samples=samples,
    )
    if recipe.others and not (dataset.shares[:, 2] > 0).any():
        raise DatasetError(
            f"{dataset_folder}: the recipe {recipe.name} also trains on faces that are neither "
            "happy nor sad; add them as other/neutral, other/angry ... (happysad dataset import "
            "--others), or add votes.csv"
        )
    validation = split(dataset, recipe.validation_fraction, recipe.seed)
    if "fingerprint" in begun_with:
        _check_same_dataset(run, dataset, validation)
    # Again when resuming: the folder may have been moved.
    run.note(dataset=str(dataset_folder.resolve()))
    if network is None:
        del dataset
        # It may have been killed before its temporary files were removed.
        run.tidy()
        return _result(run)
    write_manifest(run.manifest, dataset, validation)
    _write_skipped(run, dataset)
    run.note(fingerprint=dataset.fingerprint, weights_sha256=weights_sha256)
    _draw_augmented(run, dataset, recipe, np.flatnonzero(~validation))

    def finished(progress: Progress) -> None:
        run.write_history(progress.history)
        _draw_curves(run, progress, recipe)
        _log_for_tensorboard(run, progress)
        on_epoch(progress.history[-1])

    data = _some(Data(dataset.crops, dataset.shares, validation), recipe.images, recipe.seed)
    training, held_back = _used(dataset_folder, data, recipe)
    progress = fit(network, data, recipe, run.checkpoint, finished)
    # Again: a process killed right after the last checkpoint has not written that epoch. SVG takes
    # longer than PNG, and is written only here.
    run.write_history(progress.history)
    _draw_curves(run, progress, recipe, svg=True)
    best = progress.history[progress.best_epoch - 1]
    _, labels = mostly_happy_or_sad(data.shares[data.validation])
    warnings = validation_warnings(best.val_accuracy, labels)
    if not math.isfinite(best.val_loss):
        warnings.insert(0, "the validation loss is not a finite number; use a lower learning rate")
    run.note(
        best=best.as_json(),
        training=training,
        validation=held_back,
        skipped=len(dataset.skipped),
        excluded=len(listed) - len(samples),
        warnings=warnings,
    )
    if all(_is_grey(data.crops[i]) for i in np.flatnonzero(~data.validation)):
        see_in_grey(network)
    # Last: this file marks the run as finished.
    with atomic(run.model) as temporary:
        network.save(temporary)
    # Windows does not remove a file that is mapped into memory.
    del dataset, data
    run.tidy()
    return _result(run)


def _check_same_dataset(run: Run, dataset: Dataset, validation: npt.NDArray[np.bool_]) -> None:
    """Raise an error if the images are others than the run's, or would change sides.

    An image that changes sides would be in both parts of the run.
    """
    if run.facts()["fingerprint"] != dataset.fingerprint:
        raise DatasetError(
            f"{dataset.folder}: has changed since {run.path} was begun, or is another dataset; "
            "resume with the same images, labels, votes and --exclude, or give another --out"
        )
    begun_with = {(row.sha256, row.validation) for row in read_manifest(run.manifest, others=True)}
    if begun_with != set(zip(dataset.sha256, validation.tolist(), strict=True)):
        raise DatasetError(
            f"{dataset.folder}: its groups have changed since {run.path} was begun, and with them "
            f"the split ({run.manifest}); resume with the same groups.csv and --group-pattern, or "
            "give another --out"
        )


def _result(run: Run) -> TrainingResult:
    facts = run.facts()
    names = ("training", "validation", "skipped", "excluded", "warnings")
    values = {name: facts[name] for name in names if name in facts}
    return TrainingResult(run=run.path, best=Epoch.from_json(facts["best"]), **values)


def _used(folder: Path, data: Data, recipe: Recipe) -> tuple[int, int]:
    """Count the training and validation images that have a weight.

    Raises:
        DatasetError: One of the counts is 0.
    """
    _, weights = make_targets(data.shares, np.flatnonzero(~data.validation), recipe)
    counts = [int((weights[data.validation == side] > 0).sum()) for side in (False, True)]
    for side, count in zip(SIDES, counts, strict=True):
        if not count:
            raise DatasetError(
                f"{folder}: no {side} image has votes for happy or sad; add some to votes.csv, or "
                'use a recipe with output = "softmax"'
            )
    return counts[0], counts[1]


def _some(data: Data, images: int, seed: int) -> Data:
    """Keep at most ``images`` of the training images and a quarter of that for validation."""
    if not images:
        return data
    order = np.random.default_rng(seed).permutation(len(data.shares))
    training, validation = order[~data.validation[order]], order[data.validation[order]]
    keep = np.sort(np.concatenate([training[:images], validation[: max(1, images // 4)]]))
    return Data(data.crops[keep], data.shares[keep], data.validation[keep])


def _write_skipped(run: Run, dataset: Dataset) -> None:
    rows = ((entry.path, entry.reason) for entry in dataset.skipped)
    atomic_csv(run.skipped, ("path", "reason"), rows)


def _is_grey(crop: RgbImage) -> bool:
    return bool((crop == crop[..., :1]).all())


def _weights_sha256(recipe: Recipe) -> str | None:
    """Hash the file of the initial weights; None if they are downloaded or random."""
    bundled = recipe.weights == "happysad"
    path = released.FOLDER / released.WEIGHTS if bundled else Path(recipe.weights)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _draw_augmented(run: Run, dataset: Dataset, recipe: Recipe, chosen: Indices) -> None:
    """Save a contact sheet: each row shows a training crop and augmented copies of it."""
    rng = np.random.default_rng(recipe.seed)
    crops, captions = [], []
    for i in rng.choice(chosen, min(6, len(chosen)), replace=False):
        crops.append(dataset.crops[i])
        captions.append(dataset.classes[dataset.labels[i]])
        crops += [augment(dataset.crops[i], recipe.augmentation, rng) for _ in range(7)]
        captions += [""] * 7
    title = "First column: training crops; beside each, augmented copies"
    contact_sheet(np.stack(crops), captions, run.augmented, columns=8, title=title)


def _draw_curves(run: Run, progress: Progress, recipe: Recipe, *, svg: bool = False) -> None:
    rows = [asdict(row) for row in progress.history]
    stages = []
    for number, stage in enumerate(recipe.stages, start=1):
        epochs = [row.epoch for row in progress.history if row.stage == number]
        if epochs:
            stages.append((stage.layers, epochs[0]))
    plot_history(rows, run.curves, progress.best_epoch, stages, svg=svg)


def _log_for_tensorboard(run: Run, progress: Progress) -> None:
    if not find_spec("tensorboard"):
        return
    from tensorboard.summary import Writer

    row = progress.history[-1]
    writer = Writer(str(run.path / "tensorboard"))
    for name, value in asdict(row).items():
        if name != "epoch":
            writer.add_scalar(name, value, row.epoch)
    writer.close()
