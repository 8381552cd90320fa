"""Training on shares of votes, and on faces that are neither happy nor sad."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from happysad.errors import DatasetError
from happysad.training.checkpoint import Epoch
from happysad.training.fit import validation_metrics
from happysad.training.network import _start_from, build_network, load_network
from happysad.training.recipe import Recipe, read_recipe
from happysad.training.targets import make_targets
from happysad.training.train import train


@pytest.fixture(scope="module")
def faces_and_others(tmp_path_factory: pytest.TempPathFactory, faces: Path) -> Path:
    """The drawn faces, with ones of two further kinds that nobody calls happy or sad."""
    folder = tmp_path_factory.mktemp("with-others")
    for label in ("happy", "sad"):
        shutil.copytree(faces / label, folder / label)
    rng = np.random.default_rng(3)
    for emotion, colour in (("angry", (200, 30, 30)), ("neutral", (120, 120, 120))):
        (folder / "other" / emotion).mkdir(parents=True)
        for number in range(12):
            noise = rng.integers(-60, 60, (40, 40, 3))
            pixels = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "other" / emotion / f"{number}.png")
    return folder


SHARES = """
name = "shares"
input_size = 32
weights = "none"
output = "softmax"
dense = [8]
batch_size = 16

[augmentation]
flip = 0.5

[[stages]]
epochs = 2

[[stages]]
layers = "block_16"
epochs = 2
"""


@pytest.fixture(scope="module")
def shares_recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    file = tmp_path_factory.mktemp("recipe") / "shares.toml"
    file.write_text(SHARES)
    return read_recipe(str(file))


def test_faces_that_are_neither_take_part_where_the_recipe_says_so(
    tmp_path: Path, faces_and_others: Path, shares_recipe: Recipe
) -> None:
    whole = tmp_path / "whole"
    train(faces_and_others, shares_recipe, whole)
    with (whole / "split.csv").open() as file:
        rows = list(csv.DictReader(file))
    expected = {"happy", "sad", "other/angry", "other/neutral"}
    assert {row["label"] for row in rows} == expected
    held_back = {row["label"] for row in rows if row["split"] == "validation"}
    assert held_back == expected, "a share of every class is held back"
    network = load_network(whole / "model.keras")
    scores = network.predict_on_batch(np.zeros((2, 32, 32, 3), np.uint8))
    assert scores.shape == (2, 3) and scores.sum(axis=1) == pytest.approx(1)

    stop_at = 0

    def stop(epoch: Epoch) -> None:
        if epoch.epoch == stop_at:
            raise KeyboardInterrupt

    broken = tmp_path / "broken"
    for epoch in (1, 3):
        stop_at = epoch
        with pytest.raises(KeyboardInterrupt):
            train(faces_and_others, shares_recipe, broken, on_epoch=stop, resume=True)
    train(faces_and_others, shares_recipe, broken, resume=True)
    resumed = load_network(broken / "model.keras").get_weights()
    for one, other in zip(network.get_weights(), resumed, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_network_learns_the_share_of_people_who_say_neither(
    tmp_path: Path, faces_and_others: Path, shares_recipe: Recipe
) -> None:
    head = replace(shares_recipe.stages[0], epochs=20, learning_rate=0.003)
    recipe = replace(shares_recipe, weights="happysad", dense=(128,), stages=(head,))
    run = train(faces_and_others, recipe, tmp_path / "run").run
    network = load_network(run / "model.keras")
    rng = np.random.default_rng(9)
    noise = np.array((120, 120, 120)) + rng.integers(-60, 60, (20, 32, 32, 3))
    scores = np.asarray(network(noise.clip(0, 255).astype(np.uint8)))
    assert np.median(scores[:, 2]) > 0.5


def test_a_softmax_can_be_fine_tuned_as_a_sigmoid() -> None:
    softmax = build_network(32, dense=(8,), output="softmax")
    crops = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    sad, happy, _ = softmax.predict_on_batch(crops).T

    sigmoid = build_network(32, dense=(8,))
    _start_from(sigmoid, softmax.get_weights())

    assert sigmoid.predict_on_batch(crops)[:, 0] == pytest.approx(happy / (happy + sad), abs=1e-5)


def test_targets_and_weights_come_from_the_shares(shares_recipe: Recipe) -> None:
    shares = np.array([[1, 0, 0], [0.2, 0.6, 0.2], [0, 1, 0], [0, 0, 1]], np.float32)
    everything = np.arange(4)

    targets, weights = make_targets(shares, everything, shares_recipe)
    assert (targets == shares).all() and (weights == 1).all()

    one = replace(shares_recipe, output="sigmoid", class_weights=True)
    targets, weights = make_targets(shares, everything, one)
    assert targets[:3, 0] == pytest.approx([0, 0.75, 1])
    # 1.2 votes for sad and 1.6 for happy: 2.8 / 2 / 1.2 and 2.8 / 2 / 1.6.
    assert weights == pytest.approx([1.1667, 0.25 * 1.1667 + 0.75 * 0.875, 0.875, 0], abs=1e-3)


def test_validation_metrics_are_against_the_shares() -> None:
    shares = np.array([[0.6, 0.2, 0.2], [0.1, 0.9, 0.0], [0.1, 0.1, 0.8]], np.float32)
    outputs = np.array([[0.5, 0.25, 0.25], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5]], np.float32)

    loss, accuracy = validation_metrics(outputs, shares)

    assert loss == pytest.approx(-(shares * np.log(outputs)).sum() / 3)
    assert accuracy == 0.5, "the face that is mostly neither does not count"
    happy = outputs[:, 1:2] / outputs[:, :2].sum(axis=1, keepdims=True)
    assert validation_metrics(happy, shares)[1] == 0.5, "nor does it for a sigmoid"
    assert np.isnan(validation_metrics(happy[2:], shares[2:])[1])


def test_a_recipe_for_faces_that_are_neither_needs_some(
    tmp_path: Path, faces: Path, shares_recipe: Recipe
) -> None:
    with pytest.raises(DatasetError, match="neither happy nor sad; add them as other/neutral"):
        train(faces, shares_recipe, tmp_path / "run")
