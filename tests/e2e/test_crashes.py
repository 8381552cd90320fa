"""SIGKILL and full disks: no partial file has a final name, and existing files are kept.

`benchmarks/crashes.py` does the same more often. Killed trainings, scorings and searches have tests
of their own, where they are tested.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import crashes
import numpy as np
import pytest
from crashes import RECIPE, Case
from memory import make_video

from happysad.released import MODEL, read_released

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.fixture(scope="module")
def cases(faces: Path, coloured_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    folder = tmp_path_factory.mktemp("inputs")
    recipe, model, film = folder / "tiny.toml", folder / "model.tflite", folder / "film.mp4"
    recipe.write_text(RECIPE)
    model.write_bytes(read_released(MODEL))
    make_video(film, 10)
    table = crashes.write_list(faces, folder / "list.csv", 10)
    rows = ("predict", str(faces), "--crop", "whole", "--csv", "rows.csv")
    return [
        crashes.train_case(faces, recipe),
        replace(crashes.export_case(coloured_run), room=(4096,)),
        crashes.evaluate_case(model, faces),
        crashes.score_case(faces),
        replace(crashes.video_case(film), room=(20_000,)),
        crashes.import_case(table),
        # Rows are written one by one; the last one may be incomplete.
        Case("predict", rows, (4096,), scratch=("rows.csv",)),
    ]


@pytest.fixture
def case(cases: list[Case], request: pytest.FixtureRequest) -> Case:
    return next(case for case in cases if case.name == request.param)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with ExitStack() as stack:
        try:
            mounted = stack.enter_context(crashes.small_disk(tmp_path / "disk"))
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("only root may mount a disk of its own")
        yield mounted


@pytest.mark.parametrize("case", ["export", "predict a video", "dataset import"], indirect=True)
def test_killed_and_done_again_comes_to_the_same(case: Case, tmp_path: Path) -> None:
    whole, seconds = crashes.undisturbed(case, tmp_path)
    found = crashes.crash(case, whole, seconds, 1, np.random.default_rng(0), tmp_path)
    assert found.half == 0, "each file was the old or the new one"
    assert found.same == found.ends > 0
    assert found.last == 0, "no temporary file is left"


@pytest.mark.parametrize(
    "case",
    ["train", "export", "evaluate", "score", "predict a video", "dataset import", "predict"],
    indirect=True,
)
def test_a_full_disk_is_one_line_and_loses_nothing(case: Case, disk: Path) -> None:
    before = crashes.contents(case, case.begin(disk))
    status, errors = crashes.fill(case, case.room[0], disk)
    assert (status, len(errors)) == (2, 1), errors
    assert "No space left on device" in errors[0] or "is the disk full?" in errors[0]
    now = crashes.contents(case, disk)
    assert None not in now.values(), "all files are whole"
    assert not crashes.leftovers(disk)
    assert all(now[name] == before[name] for name in case.old if name in errors[0])


@pytest.mark.parametrize("arguments", [["predict", "--crop", "whole", "--json"], ["predict"]])
def test_full_standard_output_is_one_line(faces: Path, arguments: list[str]) -> None:
    with Path(os.devnull).with_name("full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "happysad", *arguments, str(faces)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == "error: standard output: No space left on device\n"
