import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from happysad.evaluation.charts import plot_reliability, plot_thresholds
from happysad.evaluation.metrics import compute_metrics
from happysad.evaluation.mistakes import Mistake, most_confident, overlay, plot_mistakes
from happysad.plots import contact_sheet, plot_history

CROP = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        image.verify()
        return image.size


@pytest.mark.parametrize("epochs", [1, 12])
def test_history_of_any_length_is_drawn(tmp_path: Path, epochs: int) -> None:
    keys = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    rows = [{"epoch": float(i), **dict.fromkeys(keys, 1 / i)} for i in range(1, epochs + 1)]
    plot_history(rows, tmp_path / "curves.png", epochs, [("head", 1), ("all", 3)][:epochs])
    assert size_of(tmp_path / "curves.png")[0] > 1000


def test_contact_sheet_grows_by_rows(tmp_path: Path) -> None:
    for count in (3, 9):
        path = tmp_path / f"{count}.png"
        contact_sheet(np.stack([CROP] * count), ["sad"] * count, path, columns=4, title="Samples")
    assert size_of(tmp_path / "3.png")[0] == size_of(tmp_path / "9.png")[0]
    assert size_of(tmp_path / "3.png")[1] < size_of(tmp_path / "9.png")[1]


def test_odd_file_names_are_drawn_without_a_warning(tmp_path: Path) -> None:
    names = ["happy/笑顔 $x^2$.png", "sad/" + "very-long-" * 30 + ".jpg", "sad/100%_{a}\\b.png"]
    heat = np.linspace(0, 1, 24 * 24, dtype=np.float32).reshape(24, 24)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for given in (heat, None):
            mistakes = [Mistake(name, CROP, 0, 0.9, given) for name in names]
            plot_mistakes(mistakes, tmp_path / "mistakes.png")
    assert size_of(tmp_path / "mistakes.png")


def test_the_most_confident_mistakes_come_first() -> None:
    labels = np.array([0, 1, 0, 1, 0], np.uint8)
    p = np.array([0.6, 0.1, 0.99, 0.8, 0.2])
    assert most_confident(labels, p, 0.5, 10) == [2, 1, 0]
    assert most_confident(labels, p, 0.5, 1) == [2]
    assert most_confident(labels[3:], p[3:], 0.5, 10) == []


def test_overlay_without_heat_is_the_grey_crop() -> None:
    plain = overlay(CROP, np.zeros((24, 24), np.float32))
    assert (plain[..., 0] == plain[..., 1]).all()
    assert (plain != overlay(CROP, np.ones((24, 24), np.float32))).any()


def test_probabilities_of_0_and_1_are_plotted(tmp_path: Path) -> None:
    labels, p = np.array([0, 1, 0, 1], np.uint8), np.array([0.0, 1.0, 1.0, 0.0])
    metrics = compute_metrics(labels, p, bootstrap=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_reliability(labels, p, metrics, tmp_path / "reliability.png")
        plot_thresholds(labels, p, metrics, tmp_path / "thresholds.png")
    assert size_of(tmp_path / "thresholds.png") == size_of(tmp_path / "reliability.png")
