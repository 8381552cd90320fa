"""The training loop: stages of epochs, resumable after each to the same end."""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from rich.progress import TextColumn

from happysad.cores import cores
from happysad.prediction import LABELS
from happysad.progress import progress_bar, track
from happysad.training.augmentation import VIEWS, views
from happysad.training.batches import batches
from happysad.training.checkpoint import Arrays, Checkpoint, Epoch, Progress
from happysad.training.features import features
from happysad.training.recipe import Recipe, Stage


@dataclass(frozen=True)
class Data:
    """What to train on.

    Attributes:
        crops: ``uint8 [N, size, size, 3]``.
        labels: ``uint8 [N]``, 0 sad, 1 happy, from 2 on other emotions.
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
    opinions = saved.opinions if saved else []
    if saved:
        # Before the stage begins: what a frozen backbone says is computed then.
        variables = _variables(network.layers)
        _assign(variables, saved.network[: len(variables)])
    for number in range(progress.stage, len(recipe.stages)):
        stage = recipe.stages[number]
        trainer = _Trainer(network, data, recipe, stage, opinions)
        if trainer.emotions and len(best) == len(trainer.weights):
            # Two emotions stages in a row: the second goes on with the first one's softmax.
            _assign(trainer.weights, best)
        if saved:
            _assign(trainer.variables, saved.network)
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
                _values(trainer.variables),
                _values(trainer.optimizer.variables),
                trainer.average,
                opinions,
            ).write(checkpoint)
            on_epoch(progress)
        _assign(trainer.weights, best)
        if any(later.distillation for later in recipe.stages[number + 1 :]) and trainer.emotions:
            opinions = [trainer.opinions()]
        progress.next_stage()
    return progress


class _Trainer:
    """One stage at work: the layers it trains, its optimizer, its average of weights."""

    def __init__(
        self, network: keras.Model, data: Data, recipe: Recipe, stage: Stage, opinions: Arrays
    ) -> None:
        self.network, self.data, self.recipe, self.stage = network, data, recipe, stage
        self.emotions = stage.task == "emotions"
        binary = data.labels < len(LABELS)
        takes_part = binary | self.emotions | (stage.neither > 0)
        self.training = np.flatnonzero(~data.validation & takes_part)
        self.happy = data.labels[data.validation & binary] == 1
        self.average: list[npt.NDArray[Any]] = []
        self.candidate: list[npt.NDArray[Any]] = []
        held_back = data.crops[data.validation & binary]
        self.then: Callable[[npt.NDArray[np.uint8]], npt.NDArray[Any]] | None
        if stage.layers == "head":
            self.then = frozen = features(network)
            self.model = _head(network)
            self.held_back: npt.NDArray[Any] = np.concatenate(
                [frozen(held_back[i : i + 64]) for i in range(0, len(held_back), 64)]
            )
        else:
            self.then, self.model, self.held_back = None, network, held_back
        top = []
        if self.emotions:
            top = _emotions_top(int(data.labels.max()) + 1, recipe.dropout)
            x = pooled = keras.Input(network.get_layer("pool").output.shape[1:])
            for layer in top:
                x = layer(x)
            self.top = keras.Model(pooled, x)
            if self.model is network:
                output = self.top(network.get_layer("pool").output)
                self.model = keras.Model(network.input, output)
            else:
                self.model = self.top
        self.variables = _variables([*network.layers, *top])
        self.weights = [*network.weights, *(w for layer in top for w in layer.weights)]
        self.targets, self.sample_weights = _targets(
            data.labels, self.training, recipe, stage, opinions
        )
        _thaw(network.get_layer("backbone"), stage.layers)
        if stage.weight_decay:
            self.optimizer = keras.optimizers.AdamW(
                stage.learning_rate, weight_decay=stage.weight_decay
            )
        else:
            self.optimizer = keras.optimizers.Adam(stage.learning_rate)
        self.model.compile(
            optimizer=self.optimizer,
            loss=(
                keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
                if self.emotions
                else keras.losses.BinaryCrossentropy(label_smoothing=recipe.label_smoothing)
            ),
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")]
            if self.emotions
            else [keras.metrics.MeanMetricWrapper(_accuracy, name="accuracy")],
            # TensorFlow's XLA takes five times as long for this network on a CPU.
            jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
        )
        self.optimizer.build(self.model.trainable_variables)

    def epoch(self, stage_number: int, stage_epoch: int, epoch: int) -> Epoch:
        recipe, stage = self.recipe, self.stage
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
            for step, (batch, chosen, share) in enumerate(
                batches(
                    self.data.crops,
                    self.training,
                    batch_size=recipe.batch_size,
                    augmentation=stage.augmentation or recipe.augmentation,
                    seed=recipe.seed,
                    epoch=epoch,
                    then=self.then,
                )
            ):
                self.optimizer.learning_rate = learning_rate(stage, stage_epoch + step / steps)
                # Whether Keras's figures are of the batch or of all so far depends on its version.
                self.model.reset_metrics()
                logs = self.model.train_on_batch(
                    batch,
                    _mixed(self.targets[chosen], share),
                    sample_weight=_mixed(self.sample_weights[chosen], share),
                    return_dict=True,
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
        now = _values(self.weights)
        old = self.average or now
        self.average = [a * keep + b * (1 - keep) for a, b in zip(old, now, strict=True)]

    def opinions(self) -> npt.NDArray[np.float32]:
        """Say of every crop which emotions it shows, the mean of its views, ``[N, classes]``."""
        frozen = features(self.network)

        def say(start: int) -> npt.NDArray[np.float32]:
            seen = [views(crop) for crop in self.data.crops[start : start + 16]]
            return frozen(np.concatenate(seen))

        parts = []
        starts = range(0, len(self.data.labels), 16)
        with ThreadPoolExecutor(cores()) as pool:
            for pooled in track(pool.map(say, starts), "Asking for opinions", len(starts)):
                said = np.asarray(self.top.predict_on_batch(pooled))
                parts.append(said.reshape(-1, VIEWS, said.shape[1]).mean(axis=1))
        return np.concatenate(parts)

    def _validate(self) -> tuple[float, float]:
        """Measure the weights that would be kept, and hold them as the candidate."""
        current = _values(self.weights)
        self.candidate = self.average or current
        _assign(self.weights, self.candidate)
        outputs = np.concatenate(
            [
                np.asarray(self.model.predict_on_batch(self.held_back[i : i + 256]))
                for i in range(0, len(self.held_back), 256)
            ]
        ).astype(np.float64)
        _assign(self.weights, current)
        # Of a softmax over all emotions: given that it is one of the two, which.
        p = outputs[:, 1] / outputs[:, :2].sum(axis=1) if self.emotions else outputs[:, 0]
        likelihood = np.where(self.happy, p, 1 - p).clip(1e-7)
        return float(-np.log(likelihood).mean()), float(((p >= 0.5) == self.happy).mean())


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


def _emotions_top(count: int, dropout: float) -> list[keras.layers.Layer]:
    return [keras.layers.Dropout(dropout), keras.layers.Dense(count, activation="softmax")]


def _targets(
    labels: npt.NDArray[np.uint8],
    training: npt.NDArray[np.intp],
    recipe: Recipe,
    stage: Stage,
    opinions: Arrays,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Give each crop its target, ``[N, 1]`` or one-hot ``[N, classes]``, and its weight ``[N]``."""
    weights = np.ones(len(labels), np.float32)
    targets = np.eye(int(labels.max()) + 1, dtype=np.float32)[labels]
    binary = labels < len(LABELS)
    if stage.distillation:
        learnt = opinions[0].copy()
        if stage.task == "happy-sad":
            # Of a face that is known to be one of the two, only which one is in question.
            learnt[binary, len(LABELS) :] = 0
            learnt /= learnt.sum(axis=1, keepdims=True)
        targets += np.float32(stage.distillation) * (learnt - targets)
    if stage.task == "emotions":
        return targets, weights
    if recipe.class_weights:
        counts = np.bincount(labels[training])[: len(LABELS)]
        for label, count in enumerate(counts):
            weights[labels == label] = counts.sum() / (len(LABELS) * count)
    weights[~binary] = stage.neither
    return targets[:, 1:2] + targets[:, 2:].sum(axis=1, keepdims=True) / 2, weights


def _mixed(values: npt.NDArray[np.float32], share: float) -> npt.NDArray[np.float32]:
    """Mix a batch's targets or weights as `batches` mixed its crops."""
    mixed: npt.NDArray[np.float32] = np.float32(share) * values
    return mixed + np.float32(1 - share) * values[::-1]


def _accuracy(targets: Any, outputs: Any) -> Any:
    """Share of right answers, ``[B]``; a face that is neither is right by nature."""
    half = keras.ops.equal(targets, 0.5)
    right = keras.ops.equal(keras.ops.greater(outputs, 0.5), keras.ops.greater(targets, 0.5))
    return keras.ops.cast(keras.ops.logical_or(half, right)[:, 0], "float32")


def _variables(layers: list[keras.layers.Layer]) -> list[Any]:
    """All state of the layers: weights, moving statistics, the dropouts' random seeds."""
    return [variable for layer in layers for variable in layer.variables]


def _values(variables: list[Any]) -> list[npt.NDArray[Any]]:
    return [keras.ops.convert_to_numpy(variable).copy() for variable in variables]


def _assign(variables: list[Any], values: list[npt.NDArray[Any]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
