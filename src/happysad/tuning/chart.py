"""The chart of a search."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.ticker import PercentFormatter

from happysad.plots import HAPPY, INK, MUTED, SAD, plot
from happysad.training.run import Run
from happysad.tuning.ranking import Ranked

_ROWS: Final = 20


def plot_search(ranked: Sequence[Ranked], path: Path) -> None:
    """Draw each trial's validation loss by epoch, and beside it what the best recipes came to.

    Args:
        ranked: From the best down; the first is drawn in a colour of its own.
        path: Where the PNG is to be.
    """
    shown = ranked[:_ROWS]
    with plot(path, width=12, height=max(4.6, 1.6 + 0.3 * len(shown))) as figure:
        curves, dots = figure.subplots(1, 2)
        curves.set(title="Validation log loss", xlabel="epoch")
        for place, recipe in reversed(list(enumerate(ranked))):
            for outcome in recipe.outcomes:
                rows = Run(outcome.run).read_history()
                curves.plot(
                    [row.epoch for row in rows],
                    [row.val_loss for row in rows],
                    color=_colour(place, outcome.state),
                    linewidth=2.2 if place == 0 else 1.2,
                    marker="o" if len(rows) == 1 else None,
                )
        for place, label in ((0, "best recipe"), (1, "others")):
            curves.plot([], [], color=_colour(place, "finished"), label=label)
        curves.plot([], [], color=_colour(1, "stopped"), label="stopped early")
        curves.xaxis.get_major_locator().set_params(integer=True)
        curves.legend(loc="best")
        dots.set(title="Validation accuracy, a dot for each seed", ylim=(len(shown) - 0.5, -0.5))
        for place, recipe in enumerate(shown):
            for outcome in recipe.outcomes:
                if outcome.val_accuracy is not None:
                    colour = _colour(place, outcome.state)
                    dots.plot(outcome.val_accuracy, place, "o", color=colour, alpha=0.8)
            if recipe.val_accuracy:
                dots.plot(recipe.val_accuracy.mean, place, "|", color=INK, markersize=16)
        dots.set_yticks(range(len(shown)), [name(recipe.values) for recipe in shown])
        dots.xaxis.set_major_formatter(PercentFormatter(1))


def name(values: dict[str, Any]) -> str:
    """Say in one line what makes a recipe another."""
    return ", ".join(f"{name}={value}" for name, value in values.items()) or "the recipe"


def _colour(place: int, state: str) -> str:
    if state != "finished":
        return MUTED
    return HAPPY if place == 0 else SAD
