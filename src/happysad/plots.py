"""Plots in one style, training curves, and contact sheets of images.

Blue and orange are distinguishable by colour-blind people (after Okabe and Ito 2008).
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any, Final, TypeAlias

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from happysad.files import atomic
from happysad.image import RgbImage

SAD: Final = "#0072b2"
HAPPY: Final = "#d97706"
INK: Final = "#1f2933"
MUTED: Final = "#6b7785"
RULE: Final = "#dfe3e8"
COLOURS: Final = {"sad": SAD, "happy": HAPPY}

_STYLE: Final[dict[Any, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "figure.constrained_layout.h_pad": 0.12,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.12,
    "figure.facecolor": "white",
    "font.size": 11,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 2.2,
    "lines.solid_capstyle": "round",
    "savefig.dpi": 160,
    # Text instead of outlines: the file is smaller, and the text can be selected.
    "svg.fonttype": "none",
    "text.color": INK,
    # File names are shown as they are: "$" starts no formula.
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}


TIP: Final = "tip: "
"""Prefix of an SVG element's id that holds the text to show for it."""

_TIPS: Final = 60
_Values: TypeAlias = Sequence[float] | npt.NDArray[np.float64]
_WIDTH: Final = 11.0
_GAP: Final = 0.14
_FONT: Final = 8.5
_LINE: Final = _FONT * 1.35 / 72


@contextmanager
def plot(
    path: Path, width: float = 5.6, height: float = 4.9, *, svg: bool = False
) -> Iterator[Figure]:
    """Draw a figure in the common style and write it atomically.

    Args:
        path: The image file; Matplotlib recognises the format by the suffix.
        width: In inches of 160 pixels.
        height: In inches.
        svg: Also write it as SVG, beside the PNG.

    Yields:
        An empty figure to draw on.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        yield figure
        for target in (path, path.with_suffix(".svg")) if svg else (path,):
            with atomic(target) as temporary, warnings.catch_warnings():
                # The font lacks some scripts; their characters are drawn as boxes.
                warnings.filterwarnings("ignore", message="Glyph .* missing from")
                figure.savefig(temporary)


def add_tips(axes: Axes, x: _Values, y: _Values, texts: Sequence[str], colour: str = INK) -> None:
    """Mark points that show a text in an HTML report; see `happysad.reports.inline_svg`.

    Args:
        axes: A plot that is also written as SVG.
        x: Coordinates of the points; at most 60 of them, evenly spaced, are marked.
        y: Likewise.
        texts: One for each point.
        colour: Of the mark, which is visible only while it is pointed at.
    """
    for i in np.unique(np.linspace(0, len(texts) - 1, min(_TIPS, len(texts))).astype(int)):
        (mark,) = axes.plot(x[i], y[i], "o", color=colour, markersize=9, alpha=0.0)
        mark.set_gid(TIP + texts[i])


def square(axes: Axes, x_label: str, y_label: str) -> None:
    """Show the unit square with a small margin, so that lines on its edges are not cut."""
    axes.set(xlim=(-0.015, 1.015), ylim=(-0.015, 1.015), xlabel=x_label, ylabel=y_label)
    axes.set_aspect("equal")


def plot_history(
    rows: list[dict[str, float]],
    path: Path,
    best_epoch: int,
    stages: list[tuple[str, int]],
    *,
    svg: bool = False,
) -> None:
    """Plot a training's loss and accuracy by epoch.

    Args:
        rows: One per epoch, with ``epoch``, ``loss``, ``accuracy``, ``val_loss`` and
            ``val_accuracy``.
        path: The PNG file.
        best_epoch: The epoch whose weights were kept, numbered as in ``rows``.
        stages: Each stage's name and its first epoch.
        svg: Also write it as SVG, beside the PNG.
    """
    epochs = [row["epoch"] for row in rows]
    with plot(path, width=11, height=4.6, svg=svg) as figure:
        for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            axes.set(title=measure.capitalize(), xlabel="epoch")
            marker = "o" if len(rows) == 1 else None
            for key, colour, label in (
                (measure, SAD, "training"),
                (f"val_{measure}", HAPPY, "validation"),
            ):
                values = [row[key] for row in rows]
                axes.plot(epochs, values, color=colour, label=label, marker=marker)
                texts = [
                    f"epoch {epoch:.0f}: {label} {measure} {value:.4f}"
                    for epoch, value in zip(epochs, values, strict=True)
                ]
                if svg:
                    add_tips(axes, epochs, values, texts, colour)
            best = [row[f"val_{measure}"] for row in rows if row["epoch"] == best_epoch]
            axes.plot(
                [best_epoch] * len(best),
                best,
                "o",
                color=HAPPY,
                markeredgecolor=INK,
                markersize=9,
                zorder=3,
                label=f"kept: epoch {best_epoch}, {best[0]:.3f}" if best else None,
            )
            axes.xaxis.get_major_locator().set_params(integer=True)
            for name, first in stages:
                if first > epochs[0]:
                    axes.axvline(first - 0.5, color=MUTED, linewidth=1.2, linestyle="--")
                if len(stages) > 1:
                    start = max(first - 0.5, epochs[0])
                    axes.annotate(
                        name,
                        (start, 1),
                        xycoords=("data", "axes fraction"),
                        xytext=(4, -2),
                        textcoords="offset points",
                        va="top",
                        color=MUTED,
                    )
            if measure == "accuracy":
                axes.yaxis.set_major_formatter(PercentFormatter(1))
            axes.legend(loc="best")


def contact_sheet(
    crops: Sequence[RgbImage] | npt.NDArray[np.uint8],
    captions: Sequence[str],
    path: Path,
    columns: int = 8,
    title: str = "",
) -> None:
    """Draw images in rows, with a caption below each.

    Args:
        crops: ``uint8 [N, H, W, 3]``, RGB.
        captions: One for each; lines that are too long are shortened in the middle.
        path: The PNG file.
        columns: Images per row.
        title: Title of the sheet.

    Raises:
        ValueError: There are no images.
    """
    if len(crops) == 0:
        raise ValueError("a contact sheet needs at least one image")
    width = (_WIDTH - _GAP * (columns + 1)) / columns
    height = width * crops[0].shape[0] / crops[0].shape[1]
    caption = _LINE * max(text.count("\n") + 1 for text in captions) + 0.06
    top = 0.5 if title else _GAP
    row_height = height + caption + _GAP
    total = top + row_height * ceil(len(crops) / columns)
    room = int(width * 72 / (_FONT * 0.58))
    with plot(path, _WIDTH, total) as figure:
        # One pair of axes in inches: a grid of axes takes seconds to lay out.
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, _WIDTH), ylim=(total, 0))
        axes.axis("off")
        figure.text(_GAP / _WIDTH, 1 - 0.32 / total, title, fontsize=13, weight="bold")
        for i, (crop, text) in enumerate(zip(crops, captions, strict=True)):
            x = _GAP + (i % columns) * (width + _GAP)
            y = top + (i // columns) * row_height
            extent = (x, x + width, y + height, y)
            axes.imshow(crop, extent=extent, interpolation="bicubic", aspect="auto")
            lines = "\n".join(_shorten(line, room) for line in text.split("\n"))
            axes.text(x, y + height + 0.05, lines, fontsize=_FONT, va="top", linespacing=1.25)
        axes.set(xlim=(0, _WIDTH), ylim=(total, 0))


def _shorten(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    tail = room * 2 // 3
    return f"{text[: room - tail - 1]}…{text[-tail:]}"
