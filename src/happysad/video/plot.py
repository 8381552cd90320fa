"""Plot of the persons in a video over time."""

from pathlib import Path
from tempfile import TemporaryFile
from typing import Final, TypeAlias

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MultipleLocator, PercentFormatter
from PIL import Image

from happysad.errors import HappysadError
from happysad.plots import HAPPY, INK, MUTED, RULE, SAD, plot
from happysad.video.timeline import Curves, clock

Band: TypeAlias = tuple[float, float]

# More rows would be too thin to read.
_MOST: Final = 12
_SHORTEST: Final = 1.0  # seconds
# Seconds between ticks, as on a clock.
_STEPS: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)


def check_plot_path(path: Path) -> None:
    """Check that a plot can be written, before the work.

    Raises:
        HappysadError: The file type is not supported, or the file is another image.
        OSError: The folder is not writable.
    """
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise HappysadError(
            f"{path}: plots can be written as .png, .svg or .pdf; change the suffix"
        )
    if path.suffix.lower() == ".png" and path.is_file() and not _is_plot(path):
        raise HappysadError(f"{path}: exists and is not a plot; give another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=path.parent):
        pass


def _is_plot(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return str(image.info.get("Software", "")).startswith("Matplotlib")
    # Damaged files make Pillow raise nearly anything.
    except Exception:
        return False


def plot_timeline(curves: Curves, path: Path, *, title: str, band: Band | None, end: float) -> None:
    """Plot P(happy) over time, one row per person, with the uncertain band shaded.

    Lines have gaps where the person was not seen. At most 12 persons are plotted, those seen
    longest, and none that was seen for less than a second, unless all were; the title states how
    many there are.

    Args:
        curves: The probabilities.
        path: The file to write, see `check_plot_path`.
        title: Name of the video.
        band: Range of P(happy) in which the label is uncertain; None if other scores decide.
        end: Length of the video in seconds.

    Raises:
        HappysadError: The file cannot be written.
    """
    persons = curves.persons(_MOST, _SHORTEST) or curves.persons(_MOST)
    title = f"P(happy) in {title}"
    if len(curves) > len(persons):
        title += f": {len(persons)} of {len(curves)} persons, those seen longest"
    elif not persons:
        title += ": no face was found"
    rows = max(1, len(persons))
    with plot(path, width=11, height=1.7 + 1.15 * rows) as figure:
        grid = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
        for i, axes in enumerate(grid):
            _frame(axes, band)
            if persons:
                _row(axes, curves, persons[i], band)
        grid[0].set_title(title)
        grid[-1].set(xlabel="time", xlim=(0, max(end, 1e-3)))
        step = next((step for step in _STEPS if end / step <= 10), end / 10)
        grid[-1].xaxis.set_major_locator(MultipleLocator(step))
        grid[-1].xaxis.set_major_formatter(FuncFormatter(lambda x, _: clock(x)))


def _frame(axes: Axes, band: Band | None) -> None:
    axes.set(ylim=(-0.03, 1.03), yticks=(0, 0.5, 1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    words: list[tuple[float, str, str]] = [(1, "happy", HAPPY), (0, "sad", SAD)]
    if band:
        axes.axhspan(*band, color=RULE, alpha=0.7, linewidth=0)
        words.append((sum(band) / 2, "uncertain", MUTED))
    for y, word, colour in words:
        axes.annotate(
            word,
            (1, y),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=colour,
        )


def _row(axes: Axes, curves: Curves, person: int, band: Band | None) -> None:
    times, values = curves.curve(person)
    low, high = band or (0.5, 0.5)
    # A short line would be invisible.
    marker = "." if len(times) < 3 else None
    axes.plot(times, values, color=INK, linewidth=1.4, marker=marker)
    axes.fill_between(times, high, values, where=values > high, color=HAPPY, interpolate=True)
    axes.fill_between(times, low, values, where=values < low, color=SAD, interpolate=True)
    axes.set_ylabel(f"person {person}", rotation=0, ha="right", va="center")
