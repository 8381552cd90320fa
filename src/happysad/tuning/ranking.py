"""What a search came to: its trials, and its recipes from the best down."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from happysad.files import atomic_csv
from happysad.training.recipe import Recipe


@dataclass(frozen=True)
class Trial:
    """One training of a search.

    Attributes:
        number: From 0; the run directory's name.
        values: What was varied.
        recipe: By which it trains.
    """

    number: int
    values: dict[str, Any]
    recipe: Recipe


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        run: Its run directory.
        seed: Of its recipe.
        state: ``"finished"``; ``"stopped"`` early, for others were ahead; or ``"failed"``.
        epochs: How many it had.
        val_loss: Validation log loss of its best epoch in the last stage it reached.
        val_accuracy: Of that epoch.
        problem: Why it failed.
    """

    run: Path
    seed: int
    state: str
    epochs: int
    val_loss: float | None
    val_accuracy: float | None
    problem: str | None = None


@dataclass(frozen=True)
class Figure:
    """A mean over seeds and its standard deviation, None for a single seed."""

    mean: float
    deviation: float | None


@dataclass(frozen=True)
class Ranked:
    """One recipe and its trials, one for each seed.

    Attributes:
        values: What was varied.
        recipe: The recipe, with the seed of its first trial.
        outcomes: Of its trials.
        val_loss: Over the finished trials, or None.
        val_accuracy: Over the finished trials, or None.
    """

    values: dict[str, Any]
    recipe: Recipe
    outcomes: tuple[Outcome, ...]
    val_loss: Figure | None
    val_accuracy: Figure | None

    @property
    def finished(self) -> int:
        """How many of its trials came to their end."""
        return sum(outcome.state == "finished" for outcome in self.outcomes)

    @property
    def best(self) -> Outcome:
        """Its trial of lowest validation loss, of those that came furthest."""
        order = ("finished", "stopped", "failed")
        return min(self.outcomes, key=lambda o: (order.index(o.state), _loss(o)))


def rank(trials: Sequence[Trial], outcomes: Sequence[Outcome], seeds: int) -> list[Ranked]:
    """Sort recipes: the more of its seeds came to their end the better, then by mean loss.

    Args:
        trials: All seeds of the first recipe, then all of the second, and so on.
        outcomes: One for each.
        seeds: How many there are of each recipe.
    """
    ranked = []
    for start in range(0, len(trials), seeds):
        same = tuple(outcomes[start : start + seeds])
        loss, accuracy = (
            _figure([getattr(o, name) for o in same if o.state == "finished"])
            for name in ("val_loss", "val_accuracy")
        )
        first = trials[start]
        ranked.append(Ranked(first.values, first.recipe, same, loss, accuracy))
    return sorted(
        ranked, key=lambda r: (-r.finished, r.val_loss.mean if r.val_loss else _loss(r.best))
    )


def or_worst(loss: float) -> float:
    """Put the worst in the place of a loss that is no number, which compares with nothing."""
    return loss if math.isfinite(loss) else 1e9


def _loss(outcome: Outcome) -> float:
    return math.inf if outcome.val_loss is None else outcome.val_loss


def _figure(values: list[float]) -> Figure | None:
    if not values:
        return None
    return Figure(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None)


def write_table(path: Path, trials: Sequence[Trial], outcomes: Sequence[Outcome]) -> None:
    """Write a CSV file with a row for each trial: what varied, and how it ended."""
    rows = [
        trial.values | asdict(outcome) | {"run": outcome.run.name}
        for trial, outcome in zip(trials, outcomes, strict=True)
    ]
    atomic_csv(path, list(rows[0]), (row.values() for row in rows))


def as_json(recipe: Ranked) -> dict[str, Any]:
    """Turn a ranked recipe into what JSON can hold."""
    values = asdict(recipe)
    del values["recipe"]
    return values | {"outcomes": [o | {"run": str(o["run"])} for o in values["outcomes"]]}
