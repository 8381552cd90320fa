"""The training loop: stages of epochs, resumable after each to the same end."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from rich.progress import TextColumn

from happysad.progress import progress_bar
from happysad.training.batches import batches
from happysad.training.checkpoint import Checkpoint, Epoch, Progress
from happysad.training.features import features
from happysad.training.recipe import Recipe, Stage


@dataclass(frozen=True)
class Data:
    """What to train on.

    Attributes:
        crops: ``uint8 [N, size, size, 3]``.
        labels: ``uint8 [N]``, 0 sad, 1 happy.
        validation: ``bool [N]``, which crops are held back.
    """

    crops: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    validation: npt.NDArray[np.bool_]


def fit(
    network: keras.Model,
    data: Data,
    recipe: Recipe,
    checkpoint: Path,
    on_epoch: Callable[[Progress], None],
) -> Progress:
    """Train a network by a recipe; each stage ends with its epoch of lowest validation loss.

    After every epoch all state goes to ``checkpoint`` in one step. Where that file exists,
    training goes on from it and ends as it would have without the interruption.

    Args:
        network: As `build_network` makes it; its weights are changed.
        data: Crops, labels and split.
        recipe: How to train.
        checkpoint: The ``.npz`` file to write, and to resume from.
        on_epoch: Called after each epoch, once that is safe on disk.

    Returns:
        The history and the best epoch.
    """
    saved = Checkpoint.read(checkpoint) if checkpoint.is_file() else None
    progress = saved.progress if saved else Progress()
    best = saved.best if saved else []
    if saved:
        _assign(_variables(network), saved.network)
    for number in range(progress.stage, len(recipe.stages)):
        stage = recipe.stages[number]
        trainer = _Trainer(network, data, recipe, stage)
        if saved:
            _assign(trainer.optimizer.variables, saved.optimizer)
            trainer.average = saved.average
            saved = None
        while not progress.stage_is_done(stage.epochs, stage.patience):
            row = trainer.epoch(number, progress.stage_epoch, len(progress.history) + 1)
            if progress.add(row):
                best = trainer.candidate
            Checkpoint(
                progress,
                best,
                _values(_variables(network)),
                _values(trainer.optimizer.variables),
                trainer.average,
            ).write(checkpoint)
            on_epoch(progress)
        _assign(network.weights, best)
        progress.next_stage()
    return progress


class _Trainer:
    """One stage at work: the layers it trains, its optimizer, its average of weights."""

    def __init__(self, network: keras.Model, data: Data, recipe: Recipe, stage: Stage) -> None:
        self.network, self.data, self.recipe, self.stage = network, data, recipe, stage
        self.training = np.flatnonzero(~data.validation)
        self.average: list[npt.NDArray[Any]] = []
        self.candidate: list[npt.NDArray[Any]] = []
        held_back = data.crops[data.validation]
        self.then: Callable[[npt.NDArray[np.uint8]], npt.NDArray[Any]] | None
        if stage.layers == "head":
            self.then = frozen = features(network)
            self.model = _head(network)
            self.held_back: npt.NDArray[Any] = np.concatenate(
                [frozen(held_back[i : i + 64]) for i in range(0, len(held_back), 64)]
            )
        else:
            self.then, self.model, self.held_back = None, network, held_back
        _thaw(network.get_layer("backbone"), stage.layers)
        if stage.weight_decay:
            self.optimizer = keras.optimizers.AdamW(
                stage.learning_rate, weight_decay=stage.weight_decay
            )
        else:
            self.optimizer = keras.optimizers.Adam(stage.learning_rate)
        self.model.compile(
            optimizer=self.optimizer,
            loss=keras.losses.BinaryCrossentropy(label_smoothing=recipe.label_smoothing),
            metrics=[keras.metrics.BinaryAccuracy(name="accuracy")],
            # TensorFlow's XLA takes five times as long for this network on a CPU.
            jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
        )
        self.optimizer.build(self.model.trainable_variables)

    def epoch(self, stage_number: int, stage_epoch: int, epoch: int) -> Epoch:
        recipe, stage = self.recipe, self.stage
        labels = self.data.labels.astype(np.float32)
        class_weight = _class_weights(self.data.labels[self.training], recipe.class_weights)
        steps = math.ceil(len(self.training) / recipe.batch_size)
        start = time.perf_counter()
        loss = correct = 0.0
        seen = 0
        with progress_bar(TextColumn("{task.fields[figures]}")) as bar:
            task = bar.add_task(
                f"stage {stage_number + 1}, epoch {stage_epoch + 1}/{stage.epochs}",
                total=steps,
                figures="",
            )
            for step, (batch, chosen) in enumerate(
                batches(
                    self.data.crops,
                    self.training,
                    batch_size=recipe.batch_size,
                    augmentation=recipe.augmentation,
                    seed=recipe.seed,
                    epoch=epoch,
                    then=self.then,
                )
            ):
                self.optimizer.learning_rate = learning_rate(stage, stage_epoch + step / steps)
                y = labels[chosen, None]
                # Whether Keras's figures are of the batch or of all so far depends on its version.
                self.model.reset_metrics()
                logs = self.model.train_on_batch(
                    batch, y, sample_weight=class_weight[y.astype(np.intp)[:, 0]], return_dict=True
                )
                self._average(stage_epoch * steps + step)
                seen += len(chosen)
                loss += float(logs["loss"]) * len(chosen)
                correct += float(logs["accuracy"]) * len(chosen)
                speed = seen / (time.perf_counter() - start)
                bar.update(
                    task,
                    advance=1,
                    figures=f"loss {loss / seen:.4f}  accuracy {correct / seen:.4f}  "
                    f"{speed:.0f} images/s",
                )
        speed = seen / (time.perf_counter() - start)
        val_loss, val_accuracy = self._validate()
        return Epoch(
            epoch=epoch,
            stage=stage_number + 1,
            learning_rate=float(self.optimizer.learning_rate),
            loss=loss / seen,
            accuracy=correct / seen,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            images_per_second=speed,
            seconds=time.perf_counter() - start,
        )

    def _average(self, step: int) -> None:
        if not self.stage.averaging:
            return
        # Short memory at first, or the untrained start would weigh in for thousands of steps.
        keep = np.float32(min(self.stage.averaging, (1 + step) / (10 + step)))
        now = _values(self.network.weights)
        old = self.average or now
        self.average = [a * keep + b * (1 - keep) for a, b in zip(old, now, strict=True)]

    def _validate(self) -> tuple[float, float]:
        """Measure the weights that would be kept, and hold them as the candidate."""
        current = _values(self.network.weights)
        self.candidate = self.average or current
        _assign(self.network.weights, self.candidate)
        p = np.concatenate(
            [
                np.asarray(self.model.predict_on_batch(self.held_back[i : i + 256]))[:, 0]
                for i in range(0, len(self.held_back), 256)
            ]
        ).astype(np.float64)
        _assign(self.network.weights, current)
        happy = self.data.labels[self.data.validation] == 1
        likelihood = np.where(happy, p, 1 - p).clip(1e-7)
        return float(-np.log(likelihood).mean()), float(((p >= 0.5) == happy).mean())


def learning_rate(stage: Stage, at: float) -> float:
    """Give the learning rate of a stage at a time counted in epochs.

    Goyal et al. 2017 (linear warm-up); Loshchilov and Hutter 2017 (cosine decay).
    """
    if at < stage.warmup:
        return stage.learning_rate * (at + 0.01) / (stage.warmup + 0.01)
    if stage.schedule == "constant":
        return stage.learning_rate
    done = (at - stage.warmup) / max(stage.epochs - stage.warmup, 1e-9)
    return stage.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * min(done, 1.0))) / 2)


def _thaw(backbone: keras.Model, layers: str) -> None:
    """Make trainable what a stage trains; a frozen BatchNormalization keeps its statistics."""
    backbone.trainable = layers != "head"
    if layers.startswith("block_"):
        for layer in backbone.layers:
            if layer.name.startswith(f"{layers}_"):
                break
            layer.trainable = False


def _head(network: keras.Model) -> keras.Model:
    """The layers after pooling as a model of their own; weights are shared, not copied."""
    pool = network.get_layer("pool")
    x = inputs = keras.Input(pool.output.shape[1:])
    for layer in network.layers[network.layers.index(pool) + 1 :]:
        x = layer(x)
    return keras.Model(inputs, x)


def _class_weights(labels: npt.NDArray[np.uint8], balanced: bool) -> npt.NDArray[np.float32]:
    counts = np.bincount(labels, minlength=2)
    weights = len(labels) / (2 * counts) if balanced else np.ones(2)
    return weights.astype(np.float32)


def _variables(network: keras.Model) -> list[Any]:
    """All state of the layers: weights, moving statistics, the dropouts' random seeds."""
    return [variable for layer in network.layers for variable in layer.variables]


def _values(variables: list[Any]) -> list[npt.NDArray[Any]]:
    return [keras.ops.convert_to_numpy(variable).copy() for variable in variables]


def _assign(variables: list[Any], values: list[npt.NDArray[Any]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
