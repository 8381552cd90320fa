"""The outcome of a search: its trials, and its recipes ranked by validation loss."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from happysad.files import atomic_csv
from happysad.training.recipe import Recipe

State: TypeAlias = Literal["finished", "stopped", "failed", "pending"]
"""States of a trial, in the order in which `RankedRecipe.best` prefers them."""


@dataclass(frozen=True)
class Trial:
    """One training of a search.

    Attributes:
        number: From 0; names the run directory.
        values: The hyperparameters that vary.
        recipe: The recipe with these values.
    """

    number: int
    values: dict[str, Any]
    recipe: Recipe


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        run: Its run directory.
        seed: Its recipe's seed.
        state: ``"finished"``; ``"stopped"`` early, because other trials were better;
            ``"failed"``; or ``"pending"`` for a trial that has not ended.
        epochs: Number of epochs trained.
        val_loss: Validation log loss of the best epoch in the last stage reached.
        val_accuracy: Validation accuracy of that epoch.
        problem: Why it failed.
    """

    run: Path
    seed: int
    state: State
    epochs: int
    val_loss: float | None
    val_accuracy: float | None
    problem: str | None = None


@dataclass(frozen=True)
class Mean:
    """A metric's mean over seeds and its standard deviation, None for a single seed."""

    mean: float
    deviation: float | None


@dataclass(frozen=True)
class RankedRecipe:
    """A recipe and its trials, one for each seed.

    Attributes:
        values: The hyperparameters that vary.
        recipe: The recipe with the seed of its first trial.
        outcomes: Its trials' outcomes.
        val_loss: Over the finished trials; None where there is none.
        val_accuracy: Likewise.
    """

    values: dict[str, Any]
    recipe: Recipe
    outcomes: tuple[Outcome, ...]
    val_loss: Mean | None
    val_accuracy: Mean | None

    @property
    def finished(self) -> int:
        """Number of finished trials."""
        return sum(outcome.state == "finished" for outcome in self.outcomes)

    @property
    def best(self) -> Outcome:
        """The trial of lowest validation loss, finished ones first."""
        order = get_args(State)
        return min(self.outcomes, key=lambda o: (order.index(o.state), _loss(o)))


def rank(trials: Sequence[Trial], outcomes: Sequence[Outcome], seeds: int) -> list[RankedRecipe]:
    """Rank recipes by the number of finished trials, then by mean validation loss.

    Args:
        trials: Grouped by recipe.
        outcomes: One for each trial.
        seeds: Number of trials of each recipe.
    """
    ranked = []
    for start in range(0, len(trials), seeds):
        same = tuple(outcomes[start : start + seeds])
        loss, accuracy = (
            _mean([getattr(o, name) for o in same if o.state == "finished"])
            for name in ("val_loss", "val_accuracy")
        )
        first = trials[start]
        ranked.append(RankedRecipe(first.values, first.recipe, same, loss, accuracy))
    return sorted(
        ranked, key=lambda r: (-r.finished, r.val_loss.mean if r.val_loss else _loss(r.best))
    )


def finite(loss: float) -> float:
    """Replace a loss that is not a number, which cannot be compared, by a very large one."""
    return loss if math.isfinite(loss) else 1e9


def _loss(outcome: Outcome) -> float:
    return math.inf if outcome.val_loss is None else outcome.val_loss


def _mean(values: list[float]) -> Mean | None:
    if not values:
        return None
    return Mean(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None)


def write_table(path: Path, trials: Sequence[Trial], outcomes: Sequence[Outcome]) -> None:
    """Write a CSV file with a row for each trial: its values and its outcome."""
    rows = [
        trial.values | asdict(outcome) | {"run": outcome.run.name}
        for trial, outcome in zip(trials, outcomes, strict=True)
    ]
    atomic_csv(path, list(rows[0]), (row.values() for row in rows))


def to_dict(recipe: RankedRecipe) -> dict[str, Any]:
    """Convert to JSON values."""
    values = asdict(recipe)
    del values["recipe"]
    return values | {"outcomes": [o | {"run": str(o["run"])} for o in values["outcomes"]]}
