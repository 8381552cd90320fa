"""Checkpoints: the whole state of an interrupted training in one file."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from happysad.files import atomic

Arrays = list[npt.NDArray[Any]]

_FIELDS: Final = ("best", "network", "optimizer", "average")


@dataclass(frozen=True)
class Epoch:
    """The metrics of one epoch; a row of history.csv.

    Attributes:
        epoch: Number, from 1, counted over all stages.
        stage: Number of the stage, from 1.
        learning_rate: At the epoch's end.
        loss: Mean training loss, with label smoothing and class weights.
        accuracy: On the augmented training crops.
        val_loss: Log loss on the validation crops.
        val_accuracy: On the validation crops mostly called happy or sad.
        images_per_second: Training speed, without validation.
        seconds: Duration of the whole epoch.
    """

    epoch: int
    stage: int
    learning_rate: float
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    images_per_second: float
    seconds: float

    def as_json(self) -> dict[str, float | None]:
        """Return the values for JSON, which has neither NaN nor infinity: None instead."""
        return {name: v if math.isfinite(v) else None for name, v in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Epoch":
        """Read what `as_json` returned; None becomes NaN."""
        numbers: dict[str, Any] = {n: math.nan if v is None else v for n, v in values.items()}
        return cls(**numbers)


@dataclass
class Progress:
    """Progress of a training.

    Attributes:
        stage: Number of the current stage, from 0.
        stage_epoch: Epochs finished in that stage.
        best_epoch: Epoch of the stage's lowest validation loss, counted over all stages.
        best_loss: That loss; infinite while no epoch of the stage has a finite one.
        history: All finished epochs.
    """

    stage: int = 0
    stage_epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    history: list[Epoch] = field(default_factory=list)

    def add(self, row: Epoch) -> bool:
        """Add a finished epoch; true if it is the stage's best so far."""
        self.history.append(row)
        self.stage_epoch += 1
        loss = row.val_loss if math.isfinite(row.val_loss) else math.inf
        # The first epoch counts even where its loss is not a number.
        better = self.stage_epoch == 1 or loss < self.best_loss
        if better:
            self.best_loss, self.best_epoch = loss, row.epoch
        return better

    def stage_is_done(self, epochs: int, patience: int) -> bool:
        """Return whether the stage has had its epochs, or early stopping applies."""
        waited = len(self.history) - self.best_epoch
        return self.stage_epoch >= epochs or bool(
            patience and self.stage_epoch and waited >= patience
        )

    def next_stage(self) -> None:
        """Start the next stage and reset its best epoch."""
        self.stage, self.stage_epoch, self.best_loss = self.stage + 1, 0, math.inf


@dataclass(frozen=True)
class Checkpoint:
    """State after an epoch.

    Attributes:
        progress: How far training has come.
        best: Network weights of the stage's best epoch.
        network: All variables of the network.
        optimizer: All variables of the optimizer.
        average: Moving average of the network's weights; empty where the stage has none.
    """

    progress: Progress
    best: Arrays
    network: Arrays
    optimizer: Arrays
    average: Arrays

    def write(self, path: Path) -> None:
        """Write a ``.npz`` file atomically."""
        arrays = {
            f"{name}-{i}": array for name in _FIELDS for i, array in enumerate(getattr(self, name))
        }
        arrays["progress"] = np.array(json.dumps(asdict(self.progress)))
        with atomic(path) as temporary:
            np.savez(temporary, **arrays)

    @classmethod
    def read(cls, path: Path) -> "Checkpoint":
        """Read a checkpoint."""
        with np.load(path, allow_pickle=False) as file:
            progress = json.loads(file["progress"].item())
            history = [Epoch(**row) for row in progress.pop("history")]
            arrays = {
                name: [
                    file[f"{name}-{i}"]
                    for i in range(sum(key.startswith(f"{name}-") for key in file.files))
                ]
                for name in _FIELDS
            }
        return cls(Progress(**progress, history=history), **arrays)
