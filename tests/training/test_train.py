"""Training as a user does it, on drawn faces: small crops, random weights, a few epochs."""

import csv
import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from happysad import released
from happysad.dataset.synthetic import make_dataset
from happysad.errors import DatasetError, ModelError, RecipeError
from happysad.training.checkpoint import Epoch, Progress
from happysad.training.features import features
from happysad.training.fit import learning_rate
from happysad.training.network import build_network, load_network
from happysad.training.recipe import Stage, read_recipe
from happysad.training.train import train

RECIPE = """
name = "tiny"
input_size = 32
weights = "none"
dense = [8]
batch_size = 16
class_weights = true
label_smoothing = 0.1

[augmentation]
rotation = 10
flip = 0.5
blur = 0.2

[[stages]]
layers = "head"
epochs = 2
learning_rate = 0.001

[[stages]]
layers = "block_14"
epochs = 3
learning_rate = 0.001
schedule = "cosine"
warmup = 1
weight_decay = 0.01
averaging = 0.9
"""


def happysad(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "happysad", *map(str, args)]


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    file.write_text(RECIPE)
    return file


def unlink_as_on_windows(path: Path, missing_ok: bool = False) -> None:
    maps = Path("/proc/self/maps")
    if maps.exists() and str(path) in maps.read_text():
        raise PermissionError(errno.EACCES, "used by another process", str(path))
    if path.exists() or not missing_ok:
        os.remove(path)  # noqa: PTH107


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, recipe_file: Path, faces: Path) -> Path:
    """An uninterrupted training, where files cannot be removed while they are mapped."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", unlink_as_on_windows)
        train(faces, read_recipe(str(recipe_file)), out)
    return out


def test_a_run_directory_documents_the_training(run: Path, faces: Path) -> None:
    names = {path.name for path in run.iterdir()}
    told = "recipe.toml split.csv skipped.csv environment.json history.csv curves.png curves.svg"
    assert {*told.split(), "augmented.png", "model.keras"} <= names
    assert not {"checkpoint.npz", "crops.npy"} & names, "what training alone needs is gone"
    weights = load_network(run / "model.keras").count_params()
    assert (run / "model.keras").stat().st_size < 4.5 * weights, "the optimizer is not saved"
    with (run / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [row["stage"] for row in history] == ["1", "1", "2", "2", "2"]
    assert all(0 < float(row["val_loss"]) < 5 for row in history)
    assert tomllib.loads((run / "recipe.toml").read_text())["name"] == "tiny"
    facts = json.loads((run / "environment.json").read_text())
    assert Path(facts["dataset"]) == faces.resolve()
    assert facts["training"] + facts["validation"] == 60 and facts["fingerprint"]


def test_a_killed_and_resumed_training_gives_the_same_network(
    run: Path, recipe_file: Path, faces: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    command = happysad("train", faces, "--recipe", recipe_file, "--out", out, "--json")
    # Killed twice: inside the first stage and inside the second.
    for epochs in (1, 3):
        process = subprocess.Popen([*command, "--resume"], stdout=subprocess.PIPE, text=True)
        assert process.stdout
        for line in process.stdout:
            if json.loads(line)["epoch"] == epochs:
                process.send_signal(signal.SIGKILL)
                break
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (out / "model.keras").exists()
    assert subprocess.run(command, capture_output=True).returncode == 2, "only with --resume"
    last = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=True)
    assert [json.loads(line).get("epoch") for line in last.stdout.splitlines()] == [4, 5, None]
    whole, resumed = (load_network(path / "model.keras").get_weights() for path in (run, out))
    for a, b in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not list(out.glob(".*")), "no half-written file is left"


def test_resuming_a_finished_run_changes_nothing(run: Path, recipe_file: Path, faces: Path) -> None:
    before = (run / "model.keras").stat().st_mtime_ns
    again = train(faces, read_recipe(str(recipe_file)), run, resume=True)
    assert again.training + again.validation == 60
    assert (run / "model.keras").stat().st_mtime_ns == before


def test_a_finished_run_is_not_the_result_of_other_data_or_weights(
    run: Path, recipe_file: Path, faces: Path, tmp_path: Path
) -> None:
    recipe, weights = read_recipe(str(recipe_file)), tmp_path / "model.keras"
    shutil.copy(run / "model.keras", weights)
    stages = (replace(recipe.stages[0], epochs=1),)
    short = replace(recipe, weights=str(weights), stages=stages)
    out, other, moved = tmp_path / "run", tmp_path / "other", tmp_path / "moved"
    train(faces, short, out)
    make_dataset(other, 60, seed=1, size=64)
    table = tmp_path / "exclude.csv"
    table.write_text("path\nsad/face_00000.png\n")
    for folder, exclude in ((other, None), (faces, table)):
        with pytest.raises(DatasetError, match="or is another dataset; resume with the same"):
            train(folder, short, out, resume=True, exclude=exclude)
    assert Path(json.loads((out / "environment.json").read_text())["dataset"]) == faces.resolve()

    shutil.copytree(faces, moved)
    train(moved, short, out, resume=True)
    facts = json.loads((out / "environment.json").read_text())
    assert Path(facts["dataset"]) == moved.resolve(), "export reads the images there"
    assert not list(out.glob("*.npy"))

    network = load_network(weights)
    network.get_layer("logit").kernel.assign(network.get_layer("logit").kernel + 1)
    network.save(weights)
    with pytest.raises(RecipeError, match="begun with other initial weights"):
        train(faces, short, out, resume=True)


def test_a_run_from_the_bundled_weights_records_them(
    recipe_file: Path, faces: Path, tmp_path: Path
) -> None:
    recipe = read_recipe(str(recipe_file))
    short = replace(recipe, weights="happysad", stages=(replace(recipe.stages[0], epochs=1),))
    train(faces, short, tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "environment.json").read_text())
    bundled = (released.FOLDER / released.WEIGHTS).read_bytes()
    assert facts["weights_sha256"] == hashlib.sha256(bundled).hexdigest()


def test_a_run_is_never_overwritten(run: Path, recipe_file: Path, faces: Path) -> None:
    with pytest.raises(RecipeError, match="exists"):
        train(faces, read_recipe(str(recipe_file)), run)
    with pytest.raises(RecipeError, match="another recipe"):
        train(faces, read_recipe("seed"), run, resume=True)


def test_a_folder_of_something_else_is_left_alone(
    recipe_file: Path, faces: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RecipeError, match="not a run directory"):
        train(faces, read_recipe(str(recipe_file)), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_resuming_on_changed_data_is_refused(
    run: Path, recipe_file: Path, faces: Path, tmp_path: Path
) -> None:
    out, copy = tmp_path / "run", tmp_path / "faces"
    shutil.copytree(faces, copy)
    shutil.copytree(run, out)
    # A run that was interrupted after an epoch, whose dataset lost an image since.
    (out / "model.keras").rename(out / "checkpoint.npz")
    next((copy / "happy").iterdir()).unlink()
    with pytest.raises(DatasetError, match="changed"):
        train(copy, read_recipe(str(recipe_file)), out, resume=True)


def test_resuming_with_other_groups_is_refused(
    recipe_file: Path, faces: Path, tmp_path: Path
) -> None:
    recipe, out = read_recipe(str(recipe_file)), tmp_path / "run"

    def stop(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(faces, recipe, out, on_epoch=stop)
    split = (out / "split.csv").read_bytes()
    with pytest.raises(DatasetError, match="groups have changed since"):
        train(faces, recipe, out, resume=True, group_pattern=r"\d$|\d(?=\.)")
    assert (out / "split.csv").read_bytes() == split


def test_the_result_counts_the_images_that_were_used(
    recipe_file: Path, faces: Path, tmp_path: Path
) -> None:
    recipe = read_recipe(str(recipe_file))
    short = replace(recipe, images=16, stages=(replace(recipe.stages[0], epochs=1),))
    result = train(faces, short, tmp_path / "run")
    assert (result.training, result.validation) == (16, 4)


@pytest.mark.parametrize("side", ["training", "validation"])
def test_a_sigmoid_without_votes_for_happy_or_sad_is_refused(
    run: Path, recipe_file: Path, faces: Path, tmp_path: Path, side: str
) -> None:
    folder = tmp_path / "faces"
    shutil.copytree(faces, folder)
    with (run / "split.csv").open() as file:
        names = [row["path"] for row in csv.DictReader(file) if row["split"] == side]
    lines = [f"{name},0,0,9\n" for name in names]
    (folder / "votes.csv").write_text("path,happy,sad,neutral\n" + "".join(lines))
    with pytest.raises(DatasetError, match=f"no {side} image has votes for happy or sad; add some"):
        train(folder, read_recipe(str(recipe_file)), tmp_path / "run")


def test_images_without_a_vote_for_happy_or_sad_are_not_counted(
    recipe_file: Path, faces: Path, tmp_path: Path
) -> None:
    recipe, folder = read_recipe(str(recipe_file)), tmp_path / "faces"
    shutil.copytree(faces, folder)
    names = [f"happy/{path.name}" for path in sorted((folder / "happy").iterdir())[:20]]
    lines = [f"{name},0,0,9\n" for name in names]
    (folder / "votes.csv").write_text("path,happy,sad,neutral\n" + "".join(lines))
    short = replace(recipe, stages=(replace(recipe.stages[0], epochs=1),))
    result = train(folder, short, tmp_path / "run")
    assert result.training + result.validation == 40


def test_a_training_that_diverges_warns_and_writes_json(
    recipe_file: Path, faces: Path, tmp_path: Path
) -> None:
    text = RECIPE.partition("[[stages]]")[0] + "[[stages]]\nepochs = 1\nlearning_rate = 1.0\n"
    recipe = tmp_path / "diverging.toml"
    recipe.write_text(text)
    weights = tmp_path / "model.keras"
    network = build_network(32, dense=(8,))
    network.get_layer("logit").bias.assign([np.nan])
    network.save(weights)
    out = tmp_path / "run"
    command = happysad("train", faces, "--recipe", recipe, "--weights", weights, "--out", out)
    done = subprocess.run([*command, "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "warning: the validation loss is not a finite number" in done.stderr

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    epoch, result = (json.loads(line, parse_constant=refuse) for line in done.stdout.splitlines())
    facts = json.loads((out / "environment.json").read_text(), parse_constant=refuse)
    assert epoch["val_loss"] is result["best"]["val_loss"] is facts["best"]["val_loss"] is None
    again = train(faces, replace(read_recipe(str(recipe)), weights=str(weights)), out, resume=True)
    assert np.isnan(again.best.val_loss)


def test_an_epoch_with_a_loss_is_better_than_one_without() -> None:
    progress, row = Progress(), Epoch(1, 1, 0.1, 1.0, 0.5, float("nan"), 0.5, 9.0, 1.0)
    kept = [progress.add(replace(row, val_loss=loss)) for loss in (np.nan, 2.0, np.nan, 1.0, 1.5)]
    assert kept == [True, True, False, True, False]


def test_weights_whose_name_is_not_utf8_are_refused(
    recipe_file: Path, faces: Path, tmp_path: Path
) -> None:
    recipe = replace(read_recipe(str(recipe_file)), weights=os.fsdecode(b"\xff.h5"))
    with pytest.raises(RecipeError, match="the name of the weights file is not UTF-8"):
        train(faces, recipe, tmp_path / "run")


def test_a_seed_out_of_range_is_refused(faces: Path, tmp_path: Path) -> None:
    for seed in ("-1", str(2**32)):
        command = happysad("train", faces, "--out", tmp_path / "run", "--seed", seed)
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert "--seed" in done.stderr and seed in done.stderr
    assert not (tmp_path / "run").exists()


def test_excluded_images_are_not_used(recipe_file: Path, faces: Path, tmp_path: Path) -> None:
    recipe, out = read_recipe(str(recipe_file)), tmp_path / "run"
    short = replace(recipe, stages=(replace(recipe.stages[0], epochs=1),))
    names = [path.relative_to(faces).as_posix() for path in sorted((faces / "sad").iterdir())]
    table = tmp_path / "exclude.csv"
    table.write_text("path,reason\n" + "".join(f"{name},blurred\n" for name in names[:3]))
    result = train(faces, short, out, exclude=table)
    assert (result.excluded, result.training + result.validation) == (3, 57)
    used = {row["path"] for row in csv.DictReader((out / "split.csv").open())}
    assert not used & set(names[:3]) and set(names[3:]) <= used
    assert train(faces, short, out, exclude=table, resume=True).excluded == 3
    table.write_text("path\nsad/nowhere.png\n")
    with pytest.raises(DatasetError, match=r"exclude\.csv, line 2: no image 'sad/nowhere\.png'"):
        train(faces, short, tmp_path / "other", exclude=table)
    table.write_text("path\n" + "".join(f"{name}\n" for name in names))
    with pytest.raises(DatasetError, match="no sad images are left"):
        train(faces, short, tmp_path / "other", exclude=table)


def test_an_error_at_the_start_does_not_block_the_next_try(
    recipe_file: Path, faces: Path, tmp_path: Path
) -> None:
    recipe, out = read_recipe(str(recipe_file)), tmp_path / "run"
    with pytest.raises(DatasetError):
        train(tmp_path / "no-faces", recipe, out)
    with pytest.raises(ModelError):
        train(faces, replace(recipe, weights="missing.h5"), out)
    short = replace(recipe, stages=(replace(recipe.stages[0], epochs=1),))
    # Neither does an unreadable image, even if its name is not UTF-8.
    copy = tmp_path / "faces"
    shutil.copytree(faces, copy)
    Path(os.fsdecode(bytes(copy / "happy") + b"/\xff.png")).write_bytes(b"no image")
    trained = train(copy, short, out)
    assert (trained.best.epoch, trained.skipped) == (1, 1)
    assert b"\xff.png: cannot be read" in (out / "skipped.csv").read_bytes()


def test_the_network_takes_images_as_decoded() -> None:
    network = build_network(32, dense=(16, 8))
    assert network.input.dtype == "uint8"
    p = network.predict_on_batch(np.zeros((2, 32, 32, 3), np.uint8))
    assert p.shape == (2, 1) and (p >= 0).all() and (p <= 1).all()


def test_frozen_features_are_those_of_the_network() -> None:
    network = build_network(32)
    crops = np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), np.uint8)
    pooled = keras.Model(network.input, network.get_layer("pool").output)
    np.testing.assert_allclose(features(network)(crops), pooled(crops), atol=1e-4)


def test_unavailable_weights_are_reported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such weights file"):
        build_network(32, weights=str(tmp_path / "w.h5"))
    foreign = tmp_path / "w.weights.h5"
    foreign.write_bytes(b"not weights")
    with pytest.raises(ModelError, match="not weights of MobileNetV2"):
        build_network(32, weights=str(foreign))


def test_training_can_start_from_another_run(run: Path, tmp_path: Path) -> None:
    model = run / "model.keras"
    for size, dense, same in ((48, (8,), True), (32, (16, 8), False)):
        network, before = build_network(size, dense=dense, weights=str(model)), load_network(model)
        pairs = [(network.get_layer("backbone"), before.get_layer("backbone"))]
        if same:
            pairs.append((network, before))
        for one, other in pairs:
            for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)
    with pytest.raises(ModelError, match="no such model"):
        build_network(32, weights=str(tmp_path / "model.keras"))


def test_a_failed_download_states_the_remedy(
    recipe_file: Path, faces: Path, tmp_path: Path
) -> None:
    offline = os.environ | {"KERAS_HOME": str(tmp_path), "HTTPS_PROXY": "http://127.0.0.1:9"}
    command = happysad(
        "train", faces, "--recipe", recipe_file, "--out", tmp_path / "run", "--weights", "imagenet"
    )
    done = subprocess.run(command, capture_output=True, text=True, env=offline)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    for words in ("MobileNetV2", "--weights happysad", "connect to the network", "--weights FILE"):
        assert words in done.stderr


def test_a_damaged_model_is_refused(run: Path, tmp_path: Path) -> None:
    whole = (run / "model.keras").read_bytes()
    damaged = tmp_path / "model.keras"
    damaged.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="not a Keras model, or damaged"):
        load_network(damaged)


def test_the_learning_rate_climbs_and_falls() -> None:
    stage = Stage(epochs=10, learning_rate=0.1, schedule="cosine", warmup=2)
    rates = [learning_rate(stage, t / 4) for t in range(41)]
    assert max(rates) == pytest.approx(0.1) == rates[8]
    assert rates[:9] == sorted(rates[:9]) and rates[8:] == sorted(rates[8:], reverse=True)
    assert rates[-1] == pytest.approx(0.001)


def test_networks_trained_on_grey_images_read_luminance(faces: Path, tmp_path: Path) -> None:
    for path in faces.rglob("*.png"):
        grey = tmp_path / "grey" / path.relative_to(faces)
        grey.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).convert("L").save(grey)
    recipe = replace(
        read_recipe("drawings"),
        weights="none",
        input_size=32,
        stages=(Stage(layers="head", epochs=1),),
    )
    train(tmp_path / "grey", recipe, tmp_path / "run")
    network = load_network(tmp_path / "run" / "model.keras")
    first = network.get_layer("backbone").get_layer("Conv1")
    colour = Image.open(next((faces / "happy").iterdir())).convert("RGB").resize((32, 32))
    views = [colour, colour.convert("L").convert("RGB")]
    seen, seen_grey = first(np.stack([np.asarray(v, np.float32) for v in views])).numpy()
    np.testing.assert_allclose(seen, seen_grey, atol=0.01 * np.abs(seen_grey).max())


def test_the_dataset_is_checked_before_weights_are_downloaded(tmp_path: Path) -> None:
    offline = os.environ | {"KERAS_HOME": str(tmp_path), "HTTPS_PROXY": "http://127.0.0.1:9"}
    command = happysad("train", tmp_path / "nosuch", "--out", tmp_path / "run")
    done = subprocess.run(command, capture_output=True, text=True, env=offline)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'nosuch'}: no such folder")
    assert not (tmp_path / "run").exists()


def test_an_unreliable_validation_warns_in_train_and_export(tmp_path: Path) -> None:
    faces, run = tmp_path / "faces", tmp_path / "runs[v2]"
    make_dataset(faces, 10)
    command = happysad("train", faces, "--quick", "--weights", "none", "--out", run)

    shown = subprocess.run(command, capture_output=True, text=True)
    trained = subprocess.run([*command, "--json", "--resume"], capture_output=True, text=True)
    exported = subprocess.run(happysad("export", run), capture_output=True, text=True)

    assert (trained.returncode, exported.returncode) == (0, 0), trained.stderr + exported.stderr
    assert f"happysad export '{run}'" in shown.stdout, "brackets are not markup"
    printed = json.loads(trained.stdout.splitlines()[-1])["warnings"]
    assert "only 2 images" in printed[0] and "no better than always predicting" in printed[1]
    for stderr in (trained.stderr, exported.stderr):
        assert f"warning: {printed[0]}" in stderr
    assert "cannot show a loss of less than 100.0 points" in exported.stdout
