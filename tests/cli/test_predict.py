import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import numpy as np
import pytest
from PIL import Image

from happysad.classifier import Precision
from happysad.concurrency import map_ordered
from happysad.detector import Detector
from happysad.image import read_image

Files = dict[Precision, Path]

HAPPYSAD = [sys.executable, "-m", "happysad", "predict"]
SCHEMA = Path(__file__).parents[2] / "docs" / "predict-output.schema.json"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a red, a blue and a broken image, and a file that is no image by name."""
    folder = tmp_path_factory.mktemp("földer 笑")
    (folder / "deep").mkdir()
    Image.new("RGB", (40, 50), (255, 0, 0)).save(folder / "red.png")
    Image.new("RGB", (50, 40), (0, 0, 255)).save(folder / "deep" / "blue.JPG")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    (folder / "notes.txt").write_text("not for us")
    return folder


@pytest.fixture(scope="module")
def portrait() -> Path:
    """Matplotlib's image of Grace Hopper."""
    cbook = pytest.importorskip("matplotlib.cbook")
    return Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


def predict(*arguments: str | Path, stdin: bytes = b"") -> tuple[int, str, str]:
    done = subprocess.run(
        [*HAPPYSAD, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def whole(model: Path, *arguments: str | Path, stdin: bytes = b"") -> tuple[int, str, str]:
    return predict("--model", model, "--crop", "whole", *arguments, stdin=stdin)


def records(out: str) -> list[dict[str, Any]]:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text("utf-8")))
    found = [json.loads(line) for line in out.splitlines()]
    for record in found:
        validator.validate(record)
    return found


def test_a_portrait_a_wall_and_a_broken_file(images: Path, portrait: Path, tmp_path: Path) -> None:
    table = tmp_path / "new" / "answers.csv"

    status, out, errors = predict(portrait, images, "--csv", table)

    assert status == 1
    head, face, *rest = out.splitlines()
    assert head.split() == ["label", "P(happy)", "face", "image"]
    label, probability, *place, path = face.split()
    (expected,) = Detector().predict(portrait)
    assert label == expected.label
    assert float(probability) == pytest.approx(expected.probability, abs=1e-4)
    assert place == ["1", "of", "1"] and path == str(portrait)
    assert sorted(" ".join(line.split()) for line in rest) == [
        f"no face {images / 'deep' / 'blue.JPG'}",
        f"no face {images / 'red.png'}",
    ]
    error, summary, skipped = errors.splitlines()
    assert error.startswith(f"error: {images / 'broken.jpg'}: ")
    assert summary == f"4 images: 1 {label} face, 2 without a face, 1 could not be read"
    assert skipped == f"skipped, not images: 1 ({images / 'notes.txt'})"

    with table.open(encoding="utf-8", newline="") as file:
        rows = {Path(row["path"]).name: row for row in csv.DictReader(file)}
    assert {name: row["status"] for name, row in rows.items()} == {
        portrait.name: "ok",
        "red.png": "no face",
        "blue.JPG": "no face",
        "broken.jpg": "error",
    }
    assert rows[portrait.name]["face"] == "1" and rows["red.png"]["face"] == ""
    assert float(rows[portrait.name]["probability"]) == pytest.approx(float(probability), abs=1e-4)


def test_json_lines_match_the_schema_and_the_detector(images: Path, portrait: Path) -> None:
    sources: list[str | Path] = [
        portrait,
        images / "red.png",
        "-",
        images / "broken.jpg",
        portrait,
    ]

    status, out, _ = predict("--json", "--threads", "3", *sources, stdin=portrait.read_bytes())

    assert status == 1
    first, red, stdin, broken, last = records(out)
    assert [first["path"], red["path"], stdin["path"]] == [*map(str, sources[:3])]
    (prediction,) = Detector().predict(portrait)
    (face,) = first["faces"]
    assert face["label"] == prediction.label
    assert face["probability"] == pytest.approx(prediction.probability, abs=1e-6)
    assert face["box"] == pytest.approx(prediction.face.box, abs=0.051)
    assert (first["width"], first["height"]) == read_image(portrait).shape[1::-1]
    assert first == last == {**stdin, "path": str(portrait)}
    assert red["status"] == "no face"
    assert broken["path"] == str(images / "broken.jpg")
    assert broken["error"].startswith("cannot be read (")


def test_whole_images_as_faces(model_files: Files, images: Path) -> None:
    red = (images / "red.png").read_bytes()

    status, out, _ = whole(model_files["float32"], "--json", "-", f"{images}/**/*.JPG", stdin=red)

    assert status == 0
    (first,), (second,) = (record["faces"] for record in records(out))
    assert first["label"] == "happy"
    assert first["probability"] == pytest.approx(0.982, abs=0.001)
    assert (first["box"], first["landmarks"]) == ([0, 5, 40, 40], [])
    assert second["label"] == "sad"


def test_missing_sources_are_reported_one_by_one(
    model_files: Files, images: Path, tmp_path: Path
) -> None:
    too_long = "x" * 300 + ".png"
    sources = ("none.png", "*.nothing", tmp_path, too_long, images / "red.png")
    status, out, errors = whole(
        model_files["float32"], "--json", *sources, "--annotate", tmp_path / "copies"
    )

    assert status == 1
    assert [record["status"] for record in records(out)] == ["error"] * 4 + ["ok"]
    assert "none.png: no such file" in errors
    assert f"{too_long}: cannot be read (File name too long)" in errors
    assert "*.nothing: no file matches" in errors
    assert f"{tmp_path}: no images in this folder" in errors


def test_names_that_are_not_utf8_or_would_command_the_terminal(
    model_files: Files, images: Path, tmp_path: Path
) -> None:
    name = b"caf\xe9\x1b[2J.png"
    try:
        (tmp_path / os.fsdecode(name)).write_bytes((images / "red.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    table = tmp_path / "answers.csv"

    status, out, _ = whole(model_files["float32"], tmp_path, "--csv", table)
    assert status == 0 and "\x1b" not in out and out.rstrip().endswith("caf��[2J.png")
    assert name in table.read_bytes()

    (record,) = records(whole(model_files["float32"], tmp_path, "--json")[1])
    assert os.fsencode(record["path"]).endswith(name)


def test_annotated_copies(images: Path, portrait: Path, tmp_path: Path) -> None:
    before = portrait.read_bytes()

    status, _, _ = predict(portrait, images, "--annotate", tmp_path / "out")

    assert status == 1
    assert portrait.read_bytes() == before
    written = {path.name: path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert set(written) == {portrait.name, "red.png", "blue.JPG"}
    original, copy = read_image(portrait), read_image(written[portrait.name])
    assert copy.shape == original.shape
    changed = (np.abs(copy.astype(int) - original) > 60).any(axis=2)
    assert 0.001 < changed.mean() < 0.1
    assert (read_image(written["red.png"]) == read_image(images / "red.png")).all()

    predict(portrait, "--annotate", tmp_path / "one.png")
    one = read_image(tmp_path / "one.png")
    assert np.abs(one.astype(int) - copy).mean() < 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "none.tflite"], "none.tflite: cannot be read"),
        (["--model", "foreign.tflite"], "not a .tflite model"),
        (["--csv", "foreign.tflite/x.csv"], "x.csv: cannot be written"),
        (["--csv", "red.png"], "red.png: exists and is not a text file"),
        (["--csv", "-"], "CSV needs the name of a file"),
        (["--annotate", "red.heic"], "copies are not written as .heic"),
        (["--annotate", "."], "is inside the output folder"),
        (["--annotate", "foreign.tflite"], "cannot be created"),
        (["--annotate", "x", "--csv", "./x"], "x: is given for both --csv and --annotate"),
        (["--plot", "talk.png"], "--plot and --every apply to videos only"),
        (["--every", "2"], "--plot and --every apply to videos only"),
        (["talk.mp4"], "talk.mp4: only one video at a time"),
        ([""], "a SOURCE is empty; give . for the current folder"),
    ],
)
def test_errors_that_prevent_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 50), (255, 0, 0)).save("red.png")
    Path("foreign.tflite").write_bytes(b"not a model")

    status, out, errors = predict("red.png", *arguments)

    assert status == 2
    assert out == ""
    assert errors.startswith("error: ") and says in errors and errors.count("\n") == 1
    assert read_image("red.png").shape == (50, 40, 3)


def many(folder: Path, count: int) -> Path:
    folder.mkdir()
    for index in range(count):
        Image.new("RGB", (40, 40), (index % 256, 0, 0)).save(folder / f"{index:05}.png")
    return folder


@pytest.mark.skipif(os.name == "nt", reason="no such pipes there")
def test_whoever_reads_may_stop(tmp_path: Path) -> None:
    folder = many(tmp_path / "many", 300)
    process = subprocess.Popen(
        [*HAPPYSAD, "--json", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout and process.stderr
    assert json.loads(process.stdout.readline())["status"] == "no face"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.wait()


@pytest.mark.skipif(os.name == "nt", reason="no such signals there")
def test_ctrl_c_keeps_written_results(tmp_path: Path) -> None:
    folder = many(tmp_path / "many", 1000)
    table = tmp_path / "answers.csv"
    process = subprocess.Popen(
        [*HAPPYSAD, "--json", str(folder), "--csv", str(table)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stderr
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, errors = process.stdout.read(), process.stderr.read()

    assert process.wait() == 130
    assert errors == ""
    told = records(first + rest)
    with table.open(encoding="utf-8", newline="") as file:
        kept = [row["path"] for row in csv.DictReader(file)]
    assert 1 <= len(told) < 1000
    # One image may have been on its way from one output to the next.
    assert 0 <= len(told) - len(kept) <= 1
    assert all(a == b["path"] for a, b in zip(kept, told, strict=False))


def test_a_result_is_printed_as_soon_as_it_is_ready(images: Path) -> None:
    process = subprocess.Popen(
        [*HAPPYSAD, "--json", str(images / "red.png"), "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin and process.stdout
    # Standard input is still open: the second image is not there yet.
    assert json.loads(process.stdout.readline())["path"].endswith("red.png")
    out, _ = process.communicate((images / "red.png").read_bytes())
    assert json.loads(out)["path"] == "-"


@pytest.mark.parametrize("workers", [1, 4])
def test_few_images_are_read_ahead_and_order_is_kept(workers: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(200):
            taken += 1
            yield number

    def slowly(number: int) -> int:
        time.sleep(random.Random(number).random() / 1000)
        return number

    for expected, number in enumerate(map_ordered(slowly, items(), workers)):
        assert number == expected
        assert taken <= number + 2 * workers + 2
    assert taken == 200


def test_predicting_imports_nothing_heavy(portrait: Path) -> None:
    heavy = ["tensorflow", "keras", "matplotlib", "sklearn", "scipy", "pandas", "ray", "cv2", "av"]
    script = (
        "import sys; from happysad.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "predict", str(portrait)],
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stderr == ""


def test_content_identifies_images_and_skipped_files_are_named(
    portrait: Path, tmp_path: Path
) -> None:
    (tmp_path / "no-suffix").write_bytes(portrait.read_bytes())
    (tmp_path / "talk.mp4").write_bytes(b"\0\0\0\x20ftypisom\0\0\2\0isomiso2")
    (tmp_path / "@eaDir").mkdir()
    (tmp_path / "@eaDir" / "thumbnail.jpg").write_bytes(portrait.read_bytes())

    status, out, errors = predict(tmp_path)

    assert status == 0
    assert [line.split()[-1] for line in out.splitlines()[1:]] == [str(tmp_path / "no-suffix")]
    names = f"{tmp_path / '@eaDir'}, {tmp_path / 'talk.mp4'}"
    assert errors == f"skipped, not images: 2 ({names}); give a video alone\n"


def test_a_long_name_gets_its_copy_and_a_failed_copy_ends_nothing(
    portrait: Path, tmp_path: Path
) -> None:
    long = tmp_path / "in" / f"{'n' * 231}.jpg"
    long.parent.mkdir()
    for path in (long, long.with_name("other.jpg")):
        path.write_bytes(portrait.read_bytes())
    (tmp_path / "out" / "other.jpg").mkdir(parents=True)

    status, out, errors = predict(long.parent, "--annotate", tmp_path / "out")

    assert status == 1
    assert len(out.splitlines()) == 3
    assert f"error: {tmp_path / 'out' / 'other.jpg'}: cannot be written" in errors
    assert (tmp_path / "out" / long.name).stat().st_size > 1000


def test_a_commands_own_table_is_not_named_as_skipped(images: Path, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes((images / "red.png").read_bytes())
    for _ in range(2):
        status, _, errors = predict(tmp_path, "--csv", tmp_path / "faces.csv")
        assert (status, errors) == (0, "")
