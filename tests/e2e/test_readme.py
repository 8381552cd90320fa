"""What README tells a newcomer to type, typed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import matplotlib.cbook
import pytest

from happysad import read_image

GRACE_HOPPER = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
"""A public-domain portrait of a smiling officer, which Matplotlib ships."""

README = Path(__file__).parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text("utf-8"), re.M | re.S)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where every `happysad` command of README was run, in its order."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "holiday").mkdir()
    for name in ("party.jpg", "holiday/1.jpg"):
        shutil.copy(GRACE_HOPPER, folder / name)
    film(folder / "talk.mp4")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    typed = [line for line in commands if line.startswith("happysad ")]
    assert len(typed) >= 6
    for command in typed:
        done = subprocess.run(
            command,
            shell=True,
            cwd=folder,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return folder


def film(path: Path) -> None:
    """A second of a portrait, with the camera moving."""
    portrait = read_image(GRACE_HOPPER)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (400, 400))
    for shift in range(10):
        writer.write(cv2.cvtColor(portrait[shift : shift + 400, 50:450], cv2.COLOR_RGB2BGR))
    writer.release()


def test_every_command_does_what_it_says(desk: Path) -> None:
    run = desk / "runs" / "first"
    assert (run / "evaluation-faces-test" / "report.html").is_file()
    assert (run / "model-int8.tflite").stat().st_size < 3_000_000
    for made in (
        "holiday-faces/1.jpg",
        "holiday.csv",
        "talk-faces.mp4",
        "timeline.csv",
        "mood.png",
        "scores/part-000000.parquet",
    ):
        assert (desk / made).stat().st_size, made


def test_the_python_example_runs(desk: Path) -> None:
    (example,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=desk, capture_output=True, text=True, check=True
    )
    label, probability, *box = done.stdout.split()
    assert label in ("happy", "sad", "uncertain") and 0 <= float(probability) <= 1
    assert len(box) == 4


def test_make_knows_every_target_that_is_told_of() -> None:
    commands = [line.split("#")[0].split() for block in blocks("sh") for line in block.splitlines()]
    targets = {words[1] for words in commands if words[:1] == ["make"]}
    assert targets == {"demo", "test"}
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=README.parent, check=True)
