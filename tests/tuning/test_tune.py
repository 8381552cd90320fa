"""`happysad tune` on a real Ray."""

import csv
import json
import math
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from happysad.cli.tune import _line
from happysad.errors import DatasetError, HappysadError, RecipeError
from happysad.training.checkpoint import Epoch
from happysad.training.network import load_network
from happysad.training.recipe import read_recipe
from happysad.training.run import Run
from happysad.tuning.ranking import Mean, Outcome, State, Trial, rank
from happysad.tuning.space import parse_vary

pytest.importorskip("ray.tune", reason="needs happysad[cluster]")

from happysad.tuning.tune import tune

RECIPE = """
name = "tiny"
input_size = 32
weights = "none"
dense = [8]
batch_size = 16

[[stages]]
layers = "head"
epochs = 2
learning_rate = 0.001
"""


def happysad(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "happysad", *map(str, args)]


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    file.write_text(RECIPE)
    return file


def test_a_killed_search_continues_and_writes_the_best_recipe(
    faces: Path, recipe_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "search"
    command = happysad("tune", faces, "--recipe", recipe_file, "--out", out, "--json")
    command += ["--vary", "weights=none,missing.h5", "--seeds", "2"]
    errors = tmp_path / "errors.txt"
    with errors.open("w") as file:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file)
    while not list(out.glob("*/model.keras")):
        assert process.poll() is None, errors.read_text()
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/model.keras")}

    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2 and "continue with --resume" in again.stderr
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert done.returncode == 1, f"some failed; {done.stderr}"
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    found = json.loads(done.stdout)
    best, worst = found["recipes"]
    assert (best["values"], worst["values"]) == ({"weights": "none"}, {"weights": "missing.h5"})
    assert [outcome["state"] for outcome in best["outcomes"]] == ["finished"] * 2
    assert best["val_loss"]["mean"] > 0 and best["val_loss"]["deviation"] >= 0
    for outcome in best["outcomes"]:
        assert load_network(Path(outcome["run"]) / "model.keras")
    assert "no such weights file" in worst["outcomes"][0]["problem"]
    assert read_recipe(found["best"]).weights == "none"
    with (out / "trials.csv").open() as file:
        assert [row["run"] for row in csv.DictReader(file)] == [f"{i:03}" for i in range(4)]
    assert (out / "trials.png").is_file()


def test_recipes_are_ranked_by_their_mean_loss_complete_ones_first(recipe_file: Path) -> None:
    recipe = read_recipe(str(recipe_file))
    losses = {"a": (0.5, 0.3), "b": (0.2, 0.5), "c": (0.1, None), "d": (None, None)}
    trials: list[Trial] = []
    outcomes: list[Outcome] = []
    for name, pair in losses.items():
        for seed, loss in enumerate(pair):
            trials.append(Trial(len(trials), {"name": name}, recipe))
            state: State = "failed" if loss is None else "finished"
            outcomes.append(Outcome(Path(name), seed, state, 1, loss, loss and 1 - loss))

    ranked = rank(trials, outcomes, seeds=2)

    assert [each.values["name"] for each in ranked] == ["b", "a", "c", "d"]
    assert ranked[0].val_loss
    assert ranked[0].val_loss.mean == pytest.approx(0.35)
    assert ranked[0].val_loss.deviation == pytest.approx(0.212, abs=1e-3)
    assert (ranked[2].val_loss, ranked[3].val_loss) == (Mean(0.1, None), None)
    assert ranked[0].best.val_loss == 0.2


def test_a_trial_that_falls_behind_is_stopped_and_stays_stopped(
    faces: Path, recipe_file: Path, tmp_path: Path
) -> None:
    base = read_recipe(str(recipe_file))
    varied = [parse_vary("dropout=0.1,0.4"), parse_vary("stages.0.epochs=9")]
    out = tmp_path / "search"
    with pytest.raises(HappysadError, match="no Ray cluster at this address"):
        tune(faces, base, varied, out, address="127.0.0.1:9")
    # The state of an interrupted search.
    for number, (loss, epochs) in enumerate([(0.5, 9), (0.9, 4)]):
        run = Run(out / f"{number:03}")
        run.write_history(
            [Epoch(epoch, 1, 0.1, loss, 0.5, loss, 0.5, 9.0, 9.0) for epoch in range(1, epochs + 1)]
        )
        if epochs == 9:
            run.model.touch()
    for _ in range(2):
        search = tune(faces, base, varied, out, concurrency=1, resume=True)
        states = [[o.state for o in ranked.outcomes] for ranked in search.recipes]
        assert states == [["finished"], ["stopped"]]
        assert [ranked.values["dropout"] for ranked in search.recipes] == [0.1, 0.4]


def test_a_failing_trial_does_not_end_a_search_that_stops_trials_early(
    faces: Path, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, out = read_recipe(str(recipe_file)), tmp_path / "search"
    # A path relative to the working directory, which is another one in Ray's processes.
    monkeypatch.chdir(tmp_path)
    Path("w.h5").write_bytes(b"not weights")
    # A keyword is not the file of this name.
    Path("none").write_bytes(b"not weights")
    excluded = next(faces.glob("happy/*")).relative_to(faces).as_posix()
    Path("exclude.csv").write_text(f"path\n{excluded}\n")
    search = tune(
        faces,
        base,
        [parse_vary("weights=missing.h5,w.h5,none")],
        out,
        concurrency=1,
        exclude=Path("exclude.csv"),
    )
    best, missing, foreign = (ranked.best for ranked in search.recipes)
    assert (best.state, missing.state, foreign.state) == ("finished", "failed", "failed")
    assert excluded not in (best.run / "split.csv").read_text()
    assert "no such weights file" in (missing.problem or "")
    assert "not weights of MobileNetV2" in (foreign.problem or "")
    with (out / "trials.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["failed", "failed", "finished"]


def test_a_diverging_trial_that_is_stopped_early_has_failed(
    faces: Path, recipe_file: Path, tmp_path: Path
) -> None:
    base, out = read_recipe(str(recipe_file)), tmp_path / "search"
    varied = [parse_vary("dropout=0.1,0.4"), parse_vary("stages.0.epochs=9")]
    with pytest.raises(HappysadError, match="no Ray cluster at this address"):
        tune(faces, base, varied, out, address="127.0.0.1:9")
    # The state of an interrupted search, one of whose trainings has diverged.
    for number, (loss, epochs) in enumerate([(0.5, 9), (math.nan, 4)]):
        run = Run(out / f"{number:03}")
        run.write_history(
            [Epoch(epoch, 1, 0.1, loss, 0.5, loss, 0.5, 9.0, 9.0) for epoch in range(1, epochs + 1)]
        )
        if epochs == 9:
            run.model.touch()
    lines: list[str] = []
    search = tune(
        faces,
        base,
        varied,
        out,
        concurrency=1,
        resume=True,
        on_trial=lambda trial, outcome, total: lines.append(_line(trial, outcome)),
    )
    assert [ranked.outcomes[0].state for ranked in search.recipes] == ["finished", "failed"]
    assert any("failed" in line and "the validation loss is not a number" in line for line in lines)


def test_errors_are_reported_before_anything_is_trained(
    faces: Path, recipe_file: Path, tmp_path: Path
) -> None:
    base = read_recipe(str(recipe_file))
    with pytest.raises(DatasetError, match="no such folder"):
        tune(tmp_path / "nothing", base, [], tmp_path / "t")
    with pytest.raises(HappysadError, match="no Ray cluster at this address"):
        tune(faces, base, [], tmp_path / "begun", address="127.0.0.1:9")
    shutil.copytree(faces, tmp_path / "faces")
    for dataset, pattern in ((tmp_path / "faces", None), (faces, r"\d(?=\.)")):
        with pytest.raises(RecipeError, match="or of another dataset"):
            tune(dataset, base, [], tmp_path / "begun", resume=True, group_pattern=pattern)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RecipeError, match="not a search"):
        tune(faces, base, [], tmp_path)
