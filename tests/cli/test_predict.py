import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from happysad.classifier import Precision

Files = dict[Precision, Path]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a red, a blue and a broken picture, and a file that is no picture by name."""
    folder = tmp_path_factory.mktemp("földer 笑")
    (folder / "deep").mkdir()
    Image.new("RGB", (40, 50), (255, 0, 0)).save(folder / "red.png")
    Image.new("RGB", (50, 40), (0, 0, 255)).save(folder / "deep" / "blue.JPG")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    (folder / "notes.txt").write_text("not for us")
    return folder


def happysad(*arguments: str | Path, stdin: bytes = b"") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", "from happysad.cli import main; main()", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def predict(model: Path, *arguments: str | Path, stdin: bytes = b"") -> tuple[int, str, str]:
    return happysad("predict", "--model", model, "--crop", "whole", *arguments, stdin=stdin)


def test_a_folder_is_searched_and_a_broken_file_stops_nothing(
    model_files: Files, pictures: Path, tmp_path: Path
) -> None:
    table = tmp_path / "answers.csv"

    status, out, errors = predict(model_files["int8"], pictures, "--csv", table)

    assert status == 1
    head, blue, red = out.splitlines()
    assert head.split() == ["label", "P(happy)", "path"]
    assert blue.startswith("sad")
    assert blue.endswith(str(pictures / "deep" / "blue.JPG"))
    assert red.startswith("happy")
    assert red.endswith(str(pictures / "red.png"))
    told = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert str(pictures / "broken.jpg") in told[0]

    with table.open(encoding="utf-8", newline="") as file:
        rows = {Path(row["path"]).name: row for row in csv.DictReader(file)}
    assert {name: row["label"] for name, row in rows.items()} == {
        "red.png": "happy",
        "blue.JPG": "sad",
        "broken.jpg": "",
    }
    assert float(rows["red.png"]["probability"]) > 0.9
    assert "cannot be read" in rows["broken.jpg"]["error"]


def test_json_lines_have_a_schema(model_files: Files, pictures: Path) -> None:
    status, out, _ = predict(
        model_files["float32"], "--json", pictures / "red.png", pictures / "broken.jpg"
    )

    assert status == 1
    red, broken = map(json.loads, out.splitlines())
    assert red == {
        "schema": 1,
        "path": str(pictures / "red.png"),
        "label": "happy",
        "probability": pytest.approx(0.982, abs=0.001),
    }
    assert set(broken) == {"schema", "path", "error"}


def test_a_glob_and_standard_input(model_files: Files, pictures: Path) -> None:
    red = (pictures / "red.png").read_bytes()

    status, out, _ = predict(
        model_files["float32"], "--json", "-", f"{pictures}/**/*.JPG", stdin=red
    )

    assert status == 0
    answers = [json.loads(line) for line in out.splitlines()]
    assert [(Path(a["path"]).name, a["label"]) for a in answers] == [
        ("-", "happy"),
        ("blue.JPG", "sad"),
    ]


def test_sources_that_are_not_there_are_told_one_by_one(
    model_files: Files, pictures: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()

    status, out, errors = predict(
        model_files["float32"], "--json", "none.png", "*.nothing", empty, pictures / "red.png"
    )

    assert status == 1
    assert ["error" in json.loads(line) for line in out.splitlines()] == [True, True, True, False]
    assert "none.png: no such file" in errors
    assert "*.nothing: no such file" in errors
    assert f"{empty}: no pictures in this folder" in errors


def test_it_cannot_run_without_a_model(pictures: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.tflite"
    foreign.write_bytes(b"not a model")

    for options, says in (((), "--model"), (("--model", foreign), "not a .tflite model")):
        status, out, errors = happysad("predict", "--crop", "whole", pictures / "red.png", *options)
        assert status == 2
        assert out == ""
        assert errors.startswith("error: ")
        assert says in errors
        assert len(errors.splitlines()) == 1


def test_predicting_imports_nothing_heavy(model_files: Files, pictures: Path) -> None:
    heavy = ["tensorflow", "keras", "matplotlib", "sklearn", "scipy", "cv2", "pandas", "ray"]
    script = (
        "import sys; from happysad.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    for arguments in (
        ["--help"],
        ["--model", str(model_files["int8"]), "--crop", "whole", str(pictures / "red.png")],
    ):
        done = subprocess.run(
            [sys.executable, "-c", script, "predict", *arguments],
            capture_output=True,
            check=True,
            text=True,
        )
        assert done.stdout.splitlines()[-1] == "[]"
