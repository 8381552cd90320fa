import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from happysad.classifier import Classifier
from happysad.errors import ModelError
from happysad.released import CARD, FIGURES, FOLDER, MODEL, SUMS, WEIGHTS, read_released


@pytest.mark.parametrize("name", [MODEL, WEIGHTS])
def test_a_damaged_file_of_the_release_is_refused(name: str, tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "models")
    content = bytearray((tmp_path / "models" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "models" / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"{name} is damaged.*reinstall happysad"):
        read_released(name, tmp_path / "models")


@pytest.mark.parametrize("name", [MODEL, WEIGHTS, SUMS])
def test_a_missing_file_of_the_release_is_named(name: str, tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "models")
    (tmp_path / "models" / name).unlink()
    with pytest.raises(ModelError, match=r"cannot be read.*reinstall happysad"):
        read_released(MODEL if name == SUMS else name, tmp_path / "models")


def test_the_files_are_small() -> None:
    assert (FOLDER / MODEL).stat().st_size <= 3_000_000
    assert (FOLDER / WEIGHTS).stat().st_size <= 5_000_000


def test_model_and_weights_are_the_same_network() -> None:
    pytest.importorskip("keras")
    from happysad.dataset.synthetic import draw_face
    from happysad.training.network import build_network

    classifier = Classifier()
    size = classifier.info.input_size
    crops = np.stack([draw_face(i % 2, np.random.default_rng(i), size) for i in range(40)])
    network = build_network(size, weights="happysad")
    p = network.predict(crops, verbose=0)[:, 0].astype(np.float64)
    calibrated = 1 / (1 + (1 / p - 1) ** (1 / classifier.info.temperature))
    assert np.abs(classifier.probabilities(crops) - calibrated).mean() < 0.05
    assert ((classifier.probabilities(crops) > 0.5) == (p > 0.5)).mean() > 0.9


def test_other_dense_layers_start_from_the_released_backbone() -> None:
    pytest.importorskip("keras")
    from happysad.training.network import build_network

    ours = build_network(64, dense=(8,), weights="happysad").get_layer("backbone")
    released = build_network(64, weights="happysad").get_layer("backbone")
    for one, other in zip(ours.get_weights(), released.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_card_gives_the_figures_that_were_measured() -> None:
    card = (FOLDER / CARD).read_text("utf-8")
    figures = json.loads((FOLDER / FIGURES).read_text("utf-8"))
    front = card.split("---")[1]
    stated = [float(value) for value in re.findall(r"value: ([\d.]+)", front)]
    names = ("accuracy", "f1_happy", "f1_sad", "roc_auc", "ece")
    assert stated == [round(figures[name]["value"], 4) for name in names]
    docs = Path(__file__).parents[1] / "docs" / "model-card.md"
    # The images are not in the package.
    images = "https://github.com/happysad/happysad/raw/main/docs/"
    assert docs.read_text("utf-8") == card.replace(f"]({images}", "](")
