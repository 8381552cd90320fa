"""The plot of a search."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.ticker import PercentFormatter

from happysad.plots import HAPPY, INK, MUTED, SAD, plot
from happysad.training.run import Run
from happysad.tuning.ranking import RankedRecipe, State

_ROWS: Final = 20


def plot_search(ranked: Sequence[RankedRecipe], path: Path) -> None:
    """Plot each trial's validation loss by epoch, and the best recipes' validation accuracy.

    Args:
        ranked: Best first; the first is highlighted.
        path: The PNG file.
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
        dots.set(title="Validation accuracy, one dot per seed", ylim=(len(shown) - 0.5, -0.5))
        for place, recipe in enumerate(shown):
            for outcome in recipe.outcomes:
                if outcome.val_accuracy is not None:
                    colour = _colour(place, outcome.state)
                    dots.plot(outcome.val_accuracy, place, "o", color=colour, alpha=0.8)
            if recipe.val_accuracy:
                dots.plot(recipe.val_accuracy.mean, place, "|", color=INK, markersize=16)
        dots.set_yticks(range(len(shown)), [recipe_name(recipe.values) for recipe in shown])
        dots.xaxis.set_major_formatter(PercentFormatter(1))


def recipe_name(values: dict[str, Any]) -> str:
    """Describe a recipe by the values that vary."""
    return ", ".join(f"{name}={value}" for name, value in values.items()) or "the recipe"


def _colour(place: int, state: State) -> str:
    if state != "finished":
        return MUTED
    return HAPPY if place == 0 else SAD
