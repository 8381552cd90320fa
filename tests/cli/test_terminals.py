"""Output on terminals: narrow ones, ones without colours, and names with brackets."""

import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

from happysad.dataset.synthetic import make_dataset

pty, fcntl, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "termios"))

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
MODEL = Path(__file__).parents[2] / "src" / "happysad" / "models" / "happysad.tflite"

COMMANDS = {
    "predict": ["predict", "photos[v2]", "none.jpg"],
    "doctor": ["doctor"],
    "check": ["dataset", "check", "faces"],
    "crop": ["dataset", "crop", "photos[v2]", "--out", "crops[/b]"],
    "evaluate": ["evaluate", str(MODEL), "faces", "--out", "test[v2]"],
    "score": ["score", "photos[v2]", "--out", "scores[b]"],
    "error": ["export", "runs[/b]"],
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    make_dataset(folder / "faces", 30)
    (folder / "photos[v2]").mkdir()
    portrait = Path(mpl.get_data_path(), "sample_data", "grace_hopper.jpg")
    for name in ("a[b].jpg", "[red]c.jpg"):
        shutil.copy(portrait, folder / "photos[v2]" / name)
    return folder


def shown(folder: Path, verb: str, columns: int, **environment: str) -> str:
    """Run a command in a terminal and return its output."""
    for made in ("crops[", "test[v2]", "scores[b]"):
        for path in folder.glob(f"{made.replace('[', '[[]')}*"):
            shutil.rmtree(path)
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    hidden = {"COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM"}
    inherited = {name: value for name, value in os.environ.items() if name not in hidden}
    process = subprocess.Popen(
        [sys.executable, "-m", "happysad", *COMMANDS[verb]],
        **dict.fromkeys(("stdin", "stdout", "stderr"), terminal),
        env={**inherited, "TERM": "xterm-256color", **environment},
        cwd=folder,
    )
    os.close(terminal)
    content = b""
    # Linux reports the end of a terminal as an error.
    while True:
        try:
            read = os.read(main, 65536)
        except OSError:
            break
        if not read:
            break
        content += read
    os.close(main)
    process.wait()
    return content.decode()


@pytest.mark.parametrize("verb", COMMANDS)
def test_no_colour_means_none(desk: Path, verb: str) -> None:
    assert not re.search(r"\x1b\[[0-9;]*(3|4|9)[0-9]m", shown(desk, verb, 80, NO_COLOR="1"))
    assert "\x1b" not in shown(desk, verb, 80, TERM="dumb")


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("verb", COMMANDS)
def test_narrow_terminals_show_everything(desk: Path, verb: str, columns: int) -> None:
    seen = ESCAPE.sub("", shown(desk, verb, columns))

    assert "INFO:" not in seen, "LiteRT's log"
    assert "…" not in seen, "nothing is cut off"
    names = {
        "predict": [
            "photos[v2]/a[b].jpg",
            "photos[v2]/[red]c.jpg",
            "error: none.jpg: no such file",
        ],
        "crop": ["2 faces in crops[/b]"],
        "evaluate": ["100.0–100.0", "Report: test[v2]/report.html"],
        "score": ["Rows: scores[b], 2 Parquet files"],
        "error": ["runs[/b]: "],
    }
    for name in names.get(verb, []):
        assert name in seen, seen
    table = [line for line in seen.splitlines() if not re.search(r"[━/]|error: ", line)]
    assert max(map(len, table), default=0) <= columns, "no line of a table is wrapped"
