"""The training loop: stages of epochs, resumable after each to the same end."""

import math
import time
from collections.abc import Callable, Sequence
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
from happysad.training.network import emotions_top, head, unfreeze
from happysad.training.recipe import Recipe, Stage
from happysad.training.targets import binary_accuracy, make_targets, mixed
from happysad.training.workers import ALONE, Workers


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
    checkpoint: Path | None,
    on_epoch: Callable[[Progress], None],
    workers: Workers = ALONE,
) -> Progress:
    """Train a network by a recipe; each stage ends with its epoch of lowest validation loss.

    After every epoch all state goes to ``checkpoint`` in one step. Where that file exists,
    training goes on from it and ends as it would have without the interruption.

    Args:
        network: As `build_network` makes it; its weights are changed.
        data: Crops, labels and split.
        recipe: How to train.
        checkpoint: The ``.npz`` file to write, and to resume from; the first worker's alone.
        on_epoch: Called after each epoch, once that is safe on disk.
        workers: Who trains this network together. They need the same data and recipe; where to
            begin all learn from the first.

    Returns:
        The history and the best epoch.
    """
    saved = Checkpoint.read(checkpoint) if checkpoint and checkpoint.is_file() else None
    variables = _variables(network.layers)
    saved, start = workers.first((saved, _values(variables)))
    progress = saved.progress if saved else Progress()
    best = saved.best if saved else []
    opinions = saved.opinions if saved else []
    # Before the stage begins: what a frozen backbone says is computed then.
    _assign(variables, saved.network[: len(variables)] if saved else start)
    for number in range(progress.stage, len(recipe.stages)):
        stage = recipe.stages[number]
        trainer = _Trainer(network, data, recipe, stage, opinions, workers)
        if trainer.emotions and len(best) == len(trainer.weights):
            # Two emotions stages in a row: the second goes on with the first one's softmax.
            _assign(trainer.weights, best)
        if saved:
            _assign(trainer.variables, saved.network)
            _assign(trainer.optimizer.variables, saved.optimizer)
            trainer.average = saved.average
            saved = None
        trainer.join()
        while not progress.stage_is_done(stage.epochs, stage.patience):
            row = trainer.epoch(number, progress.stage_epoch, len(progress.history) + 1)
            if progress.add(row):
                best = trainer.candidate
            if checkpoint:
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
        if trainer.emotions and _learnt_from(recipe.stages[number + 1 :]):
            opinions = [trainer.opinions()]
        progress.next_stage()
    return progress


def _learnt_from(later: Sequence[Stage]) -> bool:
    """Whether opinions given now are learnt, before another emotions stage has its own."""
    for stage in later:
        if stage.distillation or stage.task == "emotions":
            return stage.distillation > 0
    return False


class _Trainer:
    """One stage at work: the layers it trains, its optimizer, its average of weights."""

    def __init__(
        self,
        network: keras.Model,
        data: Data,
        recipe: Recipe,
        stage: Stage,
        opinions: Arrays,
        workers: Workers,
    ) -> None:
        self.network, self.data, self.recipe, self.stage = network, data, recipe, stage
        self.workers = workers
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
            self.model = head(network)
            self.held_back: npt.NDArray[Any] = self._by_all(frozen, held_back, 64, "Features")
        else:
            self.then, self.model, self.held_back = None, network, held_back
        top = []
        if self.emotions:
            top = emotions_top(int(data.labels.max()) + 1, recipe.dropout)
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
        self.targets, self.sample_weights = make_targets(
            data.labels, self.training, recipe, stage, opinions
        )
        unfreeze(network.get_layer("backbone"), stage.layers)
        # Named, for Keras would number them, and a resumed training's file would not be the same.
        if stage.weight_decay:
            self.optimizer = keras.optimizers.AdamW(
                stage.learning_rate, weight_decay=stage.weight_decay, name="optimizer"
            )
        else:
            self.optimizer = keras.optimizers.Adam(stage.learning_rate, name="optimizer")
        self.model.compile(
            optimizer=self.optimizer,
            loss=(
                keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
                if self.emotions
                else keras.losses.BinaryCrossentropy(label_smoothing=recipe.label_smoothing)
            ),
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")]
            if self.emotions
            else [keras.metrics.MeanMetricWrapper(binary_accuracy, name="accuracy")],
            # TensorFlow's XLA takes five times as long for this network on a CPU.
            jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
        )
        self.optimizer.build(self.model.trainable_variables)
        workers.step_together(self.optimizer)

    def join(self) -> None:
        """Begin where the first worker begins."""
        _assign(self.variables, self.workers.first(_values(self.variables)))
        for variable in self.variables:
            if self.workers.rank and variable.name == "seed_generator_state":
                # Or the shares of all would be dropped out alike.
                variable.assign(variable + np.array([self.workers.rank, 0]))

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
            for step, (batch, chosen, blend) in enumerate(
                batches(
                    self.data.crops,
                    self.training,
                    batch_size=recipe.batch_size,
                    augmentation=stage.augmentation or recipe.augmentation,
                    seed=recipe.seed,
                    epoch=epoch,
                    then=self.then,
                    workers=self.workers,
                )
            ):
                whole = min(recipe.batch_size, len(self.training) - seen)
                part = self.workers.part(whole)
                self.optimizer.learning_rate = learning_rate(stage, stage_epoch + step / steps)
                # Whether Keras's figures are of the batch or of all so far depends on its version.
                self.model.reset_metrics()
                logs = self.model.train_on_batch(
                    batch,
                    mixed(self.targets[chosen], blend),
                    # So weighted, the sum of all workers' gradients is that of the whole batch.
                    sample_weight=mixed(self.sample_weights[chosen], blend) * np.float32(part),
                    return_dict=True,
                )
                self._average(stage_epoch * steps + step)
                seen += whole
                loss += float(logs["loss"]) * whole
                correct += float(logs["accuracy"]) * part * whole
                speed = seen / (time.perf_counter() - start)
                bar.update(
                    task,
                    advance=1,
                    # Of this worker's share, until the epoch is over.
                    figures=f"loss {loss / seen * self.workers.count:.4f}  "
                    f"accuracy {correct / seen * self.workers.count:.4f}  {speed:.0f} images/s",
                )
        speed = seen / (time.perf_counter() - start)
        ((loss, correct),) = self.workers.sum([np.array([loss, correct])])
        self._agree()
        val_loss, val_accuracy = self._validate()
        return Epoch(
            epoch=epoch,
            stage=stage_number + 1,
            learning_rate=float(self.optimizer.learning_rate),
            loss=float(loss / seen),
            accuracy=float(correct / seen),
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

    def _agree(self) -> None:
        """Average what the workers' own shares of the batches have made of the statistics."""
        if self.workers.count > 1:
            _assign(self.weights, self.workers.mean(_values(self.weights)))
            self.average = self.workers.mean(self.average)

    def _by_all(
        self,
        say: Callable[[Any], npt.NDArray[np.float32]],
        crops: npt.NDArray[Any],
        size: int,
        what: str,
    ) -> npt.NDArray[np.float32]:
        """Run a function on all crops, so many at once, each worker on its stretch of them."""
        own = crops[self.workers.rows(len(crops))]
        starts = track(range(0, len(own), size), what)
        parts = [np.asarray(say(own[i : i + size])) for i in starts]
        return np.concatenate([part for theirs in self.workers.gather(parts) for part in theirs])

    def opinions(self) -> npt.NDArray[np.float32]:
        """Say of every crop which emotions it shows, the mean of its views, ``[N, classes]``."""
        frozen = features(self.network)

        def say(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            pairs = (crops[i : i + 2] for i in range(0, len(crops), 2))
            seen = pool.map(lambda pair: frozen(np.concatenate(list(map(views, pair)))), pairs)
            said = np.asarray(self.top.predict_on_batch(np.concatenate(list(seen))))
            return np.asarray(said.reshape(len(crops), VIEWS, -1).mean(axis=1))

        with ThreadPoolExecutor(cores()) as pool:
            return self._by_all(say, self.data.crops, 32, "Asking the network's opinion")

    def _validate(self) -> tuple[float, float]:
        """Measure the weights that would be kept, and hold them as the candidate."""
        current = _values(self.weights)
        self.candidate = self.average or current
        _assign(self.weights, self.candidate)
        said = self._by_all(self.model.predict_on_batch, self.held_back, 256, "Validating")
        outputs = said.astype(np.float64)
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


def _variables(layers: list[keras.layers.Layer]) -> list[Any]:
    """All state of the layers: weights, moving statistics, the dropouts' random seeds."""
    return [variable for layer in layers for variable in layer.variables]


def _values(variables: list[Any]) -> list[npt.NDArray[Any]]:
    return [keras.ops.convert_to_numpy(variable).copy() for variable in variables]


def _assign(variables: list[Any], values: list[npt.NDArray[Any]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
