"""Behaviour that all commands share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import happysad
from happysad.cli import VERBS


def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "happysad", *args]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | env)


def test_version() -> None:
    assert run("--version").stdout.strip() == f"happysad {happysad.__version__}"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    done = run(verb, "--help")
    assert done.returncode == 0 and "Usage" in done.stdout


def test_a_users_error_is_one_line_and_status_2(tmp_path: Path) -> None:
    done = run("train", str(tmp_path / "none"), "--out", str(tmp_path / "run"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    # Stands in for an install without the extra: the module cannot be found.
    (tmp_path / "tomli_w.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'tomli_w'\", name='tomli_w')"
    )
    done = run("train", "faces", "--out", str(tmp_path / "run"), PYTHONPATH=str(tmp_path))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "tomli_w" in done.stderr and "pip install 'happysad[train]'" in done.stderr


def test_only_errors_of_writing_are_blamed_on_standard_output(tmp_path: Path) -> None:
    # Stands in for a library that fails to read a file.
    (tmp_path / "tomli_w.py").write_text('raise OSError("Truncated File Read")')
    done = run("train", "faces", "--out", str(tmp_path / "run"), PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (2, "error: Truncated File Read\n")


@pytest.mark.skipif(os.name == "nt", reason="no such shell there")
@pytest.mark.parametrize("closed", ["2>&-", "0<&- 2>&-"])
def test_standard_error_may_be_closed(closed: str, tmp_path: Path) -> None:
    Image.new("RGB", (40, 50)).save(tmp_path / "wall.png")
    command = f'"$0" -m happysad predict wall.png none.png --csv faces.csv {closed}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 1
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["image", "wall.png"]
    assert (tmp_path / "faces.csv").read_text("utf-8").startswith("path,")
