"""README's commands work."""

import subprocess
from pathlib import Path

from typed import ROOT, blocks, commands, lay_desk, run_python, type_in

README = ROOT / "README.md"


def test_every_command_of_readme_works(tmp_path: Path) -> None:
    lay_desk(tmp_path)
    typed = commands(README)
    assert len(typed) >= 6
    for command in typed:
        type_in(tmp_path, command)
    run = tmp_path / "runs" / "first"
    assert (run / "evaluation-faces-test" / "report.html").is_file()
    assert (run / "model-int8.tflite").stat().st_size < 3_000_000
    for made in (
        "check.html",
        "holiday-faces/1.jpg",
        "holiday.csv",
        "talk-faces.mp4",
        "timeline.csv",
        "talk.png",
        "scores/part-000000.parquet",
    ):
        assert (tmp_path / made).stat().st_size, made


def test_the_python_example_runs(tmp_path: Path) -> None:
    lay_desk(tmp_path)
    (example,) = blocks(README, "python")
    label, probability, *box = run_python(tmp_path, example).split()
    assert label in ("happy", "sad", "uncertain") and 0 <= float(probability) <= 1
    assert len(box) == 4


def test_every_documented_make_target_exists() -> None:
    lines = [line for block in blocks(README, "sh") for line in block.splitlines()]
    targets = {line.split()[1] for line in lines if line.startswith("make ")}
    assert targets == {"demo", "test"}
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=README.parent, check=True)
