"""All that an interrupted training needs to go on, in one file."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from happysad.files import atomic

Arrays = list[npt.NDArray[Any]]

_PARTS: Final = ("best", "network", "optimizer", "average", "opinions")


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; a row of history.csv.

    Attributes:
        epoch: Number, from 1, counted over all stages.
        stage: Number of the stage, from 1.
        learning_rate: At the epoch's end.
        loss: Mean training loss, with smoothed targets and class weights.
        accuracy: On the varied training crops.
        val_loss: Log loss on the validation crops.
        val_accuracy: On the validation crops.
        images_per_second: Of training, without validation.
        seconds: The whole epoch.
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


@dataclass
class Progress:
    """How far training has come.

    Attributes:
        stage: Number of the stage under way, from 0.
        stage_epoch: Epochs finished in that stage.
        best_epoch: Epoch of the stage's lowest validation loss, counted over all stages.
        best_loss: That loss.
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
        # The first epoch counts even where its loss is not a number.
        better = self.stage_epoch == 1 or row.val_loss < self.best_loss
        if better:
            self.best_loss, self.best_epoch = row.val_loss, row.epoch
        return better

    def stage_is_done(self, epochs: int, patience: int) -> bool:
        """Tell whether the stage has had its epochs, or has waited for a better one in vain."""
        waited = len(self.history) - self.best_epoch
        return self.stage_epoch >= epochs or bool(
            patience and self.stage_epoch and waited >= patience
        )

    def next_stage(self) -> None:
        """Begin the next stage; its best is counted anew."""
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
        opinions: What the network said at the end of the last emotions stage; empty before.
    """

    progress: Progress
    best: Arrays
    network: Arrays
    optimizer: Arrays
    average: Arrays
    opinions: Arrays

    def write(self, path: Path) -> None:
        """Write a ``.npz`` file in one step."""
        arrays = {
            f"{part}-{i}": array for part in _PARTS for i, array in enumerate(getattr(self, part))
        }
        arrays["progress"] = np.array(json.dumps(asdict(self.progress)))
        with atomic(path) as temporary:
            np.savez(temporary, **arrays)

    @classmethod
    def read(cls, path: Path) -> "Checkpoint":
        """Read what `write` wrote."""
        with np.load(path, allow_pickle=False) as file:
            progress = json.loads(file["progress"].item())
            history = [Epoch(**row) for row in progress.pop("history")]
            parts = {
                part: [
                    file[f"{part}-{i}"]
                    for i in range(sum(name.startswith(f"{part}-") for name in file.files))
                ]
                for part in _PARTS
            }
        return cls(Progress(**progress, history=history), **parts)
