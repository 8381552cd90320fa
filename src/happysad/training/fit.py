"""The training loop: stages of epochs, resumable after each epoch with the same result.

Keras's callbacks do not fit: BackupAndRestore does not save the state of EarlyStopping, and the
moving average of `keras.optimizers` has no warm-up and averages trainable weights only.
"""

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

from happysad.progress import progress_bar, track
from happysad.training.batches import batches
from happysad.training.checkpoint import Arrays, Checkpoint, Epoch, Progress
from happysad.training.features import features
from happysad.training.network import head, unfreeze
from happysad.training.recipe import Recipe, Stage
from happysad.training.targets import (
    FloatArray,
    binary_accuracy,
    make_targets,
    mostly_happy_or_sad,
)

Crops = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Data:
    """A dataset to train on.

    Attributes:
        crops: ``uint8 [N, size, size, 3]``.
        shares: ``float32 [N, 3]``: shares of people who call the face sad, happy, neither.
        validation: ``bool [N]``, which crops are held back.
    """

    crops: Crops
    shares: FloatArray
    validation: npt.NDArray[np.bool_]


def fit(
    network: keras.Model,
    data: Data,
    recipe: Recipe,
    checkpoint: Path,
    on_epoch: Callable[[Progress], None],
) -> Progress:
    """Train a network by a recipe; each stage ends with its epoch of lowest validation loss.

    After every epoch the whole state is written to ``checkpoint``. Where that file exists,
    training resumes from it, with the same result as without the interruption.

    Args:
        network: As `build_network` makes it; its weights are changed.
        data: Crops, shares and split.
        recipe: The recipe.
        checkpoint: The ``.npz`` file to write and to resume from.
        on_epoch: Called after each epoch, once its checkpoint is written.

    Returns:
        The history and the best epoch.
    """
    saved = Checkpoint.read(checkpoint) if checkpoint.is_file() else None
    variables = _variables(network)
    progress = saved.progress if saved else Progress()
    best = saved.best if saved else []
    if saved:
        # Before the stage is set up: it computes the features of a frozen backbone.
        _assign(variables, saved.network)
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
            optimizer = _values(trainer.optimizer.variables)
            state = Checkpoint(progress, best, _values(variables), optimizer, trainer.average)
            state.write(checkpoint)
            on_epoch(progress)
        _assign(network.weights, best)
        progress.next_stage()
    return progress


class _Trainer:
    """One training stage: the layers it trains, its optimizer, its moving average of weights."""

    def __init__(self, network: keras.Model, data: Data, recipe: Recipe, stage: Stage) -> None:
        self.network, self.data, self.recipe, self.stage = network, data, recipe, stage
        self.targets, self.sample_weights = make_targets(
            data.shares, np.flatnonzero(~data.validation), recipe
        )
        used = self.sample_weights > 0
        self.training = np.flatnonzero(~data.validation & used)
        self.held_back = np.flatnonzero(data.validation & used)
        self.average: Arrays = []
        self.candidate: Arrays = []
        unfreeze(network.get_layer("backbone"), stage.layers)
        # Compiling the network itself would save the optimizer, twice its size, with it.
        self.model = keras.Model(network.inputs, network.outputs)
        self.inputs: npt.NDArray[Any] = data.crops[self.held_back]
        self.prepare: Callable[[Crops], npt.NDArray[Any]] | None = None
        if stage.layers == "head":
            # A frozen backbone is a fixed function, computed in the threads that prepare batches.
            self.model, self.prepare = head(network), features(network)
            self.inputs = _by_batch(self.prepare, self.inputs, 64, "Computing features")
        self.optimizer = _compile(self.model, recipe, stage)

    def epoch(self, stage_number: int, stage_epoch: int, epoch: int) -> Epoch:
        recipe, stage = self.recipe, self.stage
        steps = math.ceil(len(self.training) / recipe.batch_size)
        start = time.perf_counter()
        loss = correct = 0.0
        seen = 0
        with progress_bar(TextColumn("{task.fields[metrics]}")) as bar:
            title = f"stage {stage_number + 1}, epoch {stage_epoch + 1}/{stage.epochs}"
            task = bar.add_task(title, total=steps, metrics="")
            for step, (batch, chosen) in enumerate(
                batches(
                    self.data.crops,
                    self.training,
                    batch_size=recipe.batch_size,
                    augmentation=recipe.augmentation,
                    seed=recipe.seed,
                    epoch=epoch,
                    prepare=self.prepare,
                )
            ):
                self.optimizer.learning_rate = learning_rate(stage, stage_epoch + step / steps)
                # Keras versions differ in whether metrics accumulate over batches.
                self.model.reset_metrics()
                logs = self.model.train_on_batch(
                    batch,
                    self.targets[chosen],
                    sample_weight=self.sample_weights[chosen],
                    return_dict=True,
                )
                self._update_average(stage_epoch * steps + step)
                seen += len(chosen)
                loss += float(logs["loss"]) * len(chosen)
                correct += float(logs["accuracy"]) * len(chosen)
                speed = seen / (time.perf_counter() - start)
                metrics = f"loss {loss / seen:.4f}  accuracy {correct / seen:.4f}"
                bar.update(task, advance=1, metrics=f"{metrics}  {speed:.0f} images/s")
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

    def _update_average(self, step: int) -> None:
        if not self.stage.averaging:
            return
        # Short memory at first, or the initial weights would count for thousands of steps.
        keep = np.float32(min(self.stage.averaging, (1 + step) / (10 + step)))
        now = _values(self.network.weights)
        old = self.average or now
        self.average = [a * keep + b * (1 - keep) for a, b in zip(old, now, strict=True)]

    def _validate(self) -> tuple[float, float]:
        """Return loss and accuracy of the weights that would be kept; store these."""
        current = _values(self.network.weights)
        self.candidate = self.average or current
        _assign(self.network.weights, self.candidate)
        outputs = _by_batch(self.model.predict_on_batch, self.inputs, 256, "Validating")
        _assign(self.network.weights, current)
        return validation_metrics(outputs, self.data.shares[self.held_back])


def _compile(model: keras.Model, recipe: Recipe, stage: Stage) -> keras.optimizers.Optimizer:
    # Named: a default name has a number, which would differ after resuming.
    optimizer = keras.optimizers.Adam(
        stage.learning_rate, weight_decay=stage.weight_decay or None, name="optimizer"
    )
    smoothing = recipe.label_smoothing
    if recipe.output == "softmax":
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
        accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    else:
        loss = keras.losses.BinaryCrossentropy(label_smoothing=smoothing)
        accuracy = keras.metrics.MeanMetricWrapper(binary_accuracy, name="accuracy")
    # TensorFlow's XLA takes five times as long for this network on a CPU.
    jit = False if keras.backend.backend() == "tensorflow" else "auto"
    model.compile(optimizer=optimizer, loss=loss, metrics=[accuracy], jit_compile=jit)
    optimizer.build(model.trainable_variables)
    return optimizer


def validation_metrics(outputs: FloatArray, shares: FloatArray) -> tuple[float, float]:
    """Return log loss against the shares, and accuracy on the faces mostly called happy or sad.

    The accuracy is NaN without such faces.

    Args:
        outputs: The network's: P(happy) ``[N, 1]``, or P(sad), P(happy), P(neither) ``[N, 3]``.
        shares: ``[N, 3]`` in the same order.
    """
    outputs, shares = outputs.astype(np.float64), shares.astype(np.float64)
    two, labels = mostly_happy_or_sad(shares)
    if outputs.shape[1] == 1:
        outputs = np.hstack([1 - outputs, outputs])
        shares = shares[:, :2] / shares[:, :2].sum(axis=1, keepdims=True)
    loss = -(shares * np.log(outputs.clip(1e-7))).sum(axis=1).mean()
    right = (outputs[two, 1] >= outputs[two, 0]) == labels
    return float(loss), float(right.mean()) if len(right) else math.nan


def learning_rate(stage: Stage, at: float) -> float:
    """Return the learning rate of a stage at a time counted in epochs.

    Goyal et al. 2017 (linear warm-up); Loshchilov and Hutter 2017 (cosine decay).
    """
    if at < stage.warmup:
        return stage.learning_rate * (at + 0.01) / (stage.warmup + 0.01)
    if stage.schedule == "constant":
        return stage.learning_rate
    done = (at - stage.warmup) / max(stage.epochs - stage.warmup, 1e-9)
    return stage.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * min(done, 1.0))) / 2)


def _by_batch(
    function: Callable[[Any], Any], items: npt.NDArray[Any], size: int, title: str
) -> FloatArray:
    starts = track(range(0, len(items), size), title)
    return np.concatenate([np.asarray(function(items[i : i + size])) for i in starts])


def _variables(network: keras.Model) -> list[Any]:
    """All state of a network: weights, moving statistics, seeds of dropout."""
    return [variable for layer in network.layers for variable in layer.variables]


def _values(variables: list[Any]) -> Arrays:
    return [keras.ops.convert_to_numpy(variable).copy() for variable in variables]


def _assign(variables: list[Any], values: Arrays) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
