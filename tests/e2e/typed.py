"""Run the commands of documentation pages."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.cbook

from happysad import read_image
from happysad.video.outputs import video_writer

ROOT = Path(__file__).parents[2]

GRACE_HOPPER = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
"""A public-domain portrait of a smiling officer, which Matplotlib ships."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


def lay_desk(folder: Path) -> None:
    """Make the images and the video that the pages mention."""
    (folder / "holiday").mkdir()
    for name in ("party.jpg", "holiday/1.jpg"):
        shutil.copy(GRACE_HOPPER, folder / name)
    portrait = read_image(GRACE_HOPPER)
    with video_writer(folder / "talk.mp4", (400, 400), 10) as write:
        for shift in range(10):
            write(portrait[shift : shift + 400, 50:450], shift / 10)


def commands(page: Path) -> list[str]:
    """Return the `happysad` commands of a page in order, without servers, which do not end."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if re.match("happysad (?!serve)", line)]


def type_in(folder: Path, command: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def run_python(folder: Path, example: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{example}\n{done.stderr}"
    return done.stdout
