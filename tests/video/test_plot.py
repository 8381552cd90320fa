from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from happysad.plots import RULE
from happysad.video.plot import plot_timeline
from happysad.video.timeline import Curves


@pytest.mark.parametrize(("band", "shaded"), [((0.35, 0.65), True), (None, False)])
def test_only_a_model_with_an_uncertain_range_gets_it_shaded(
    tmp_path: Path, band: tuple[float, float] | None, shaded: bool
) -> None:
    path = tmp_path / "talk.png"

    plot_timeline(Curves(), path, title="talk.mp4", band=band, end=5.0)

    rule = np.array([int(RULE[i : i + 2], 16) for i in (1, 3, 5)])
    # Drawn at 70 % over white.
    colour = np.round(0.7 * rule + 0.3 * 255)
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert ((np.abs(pixels - colour).max(axis=2) <= 1).mean() > 0.1) == shaded
