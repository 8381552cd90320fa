"""Contents of images appear in the results only, not in logs or files."""

import base64
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SECRET = "the-secret-of-this-image"
HAPPYSAD = [sys.executable, "-m", "happysad"]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with a face, an image without one and a broken one; all contain a secret."""
    cbook = pytest.importorskip("matplotlib.cbook")
    folder = tmp_path / "images"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x010E] = SECRET
    face = Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    face.save(folder / "a.jpg", exif=exif)
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    Image.fromarray(noise).save(folder / "b.png", exif=exif)
    (folder / "c.jpg").write_bytes((folder / "a.jpg").read_bytes()[:20_000])
    return folder


def traces(images: Path) -> list[bytes]:
    """Return what would reveal an image: its text, parts of its file, also in base64, pixels."""
    found = [SECRET.encode()]
    for path in images.iterdir():
        content = path.read_bytes()
        for piece in (content, content[-9000:], content[len(content) // 2 :]):
            # For each of base64's three alignments.
            found += [base64.b64encode(piece[i : i + 48]) for i in range(3)]
            found.append(piece[:48])
    for name in ("a.jpg", "b.png"):
        pixels = np.asarray(Image.open(images / name))
        found += [pixels[y, 30:62].tobytes() for y in range(10, len(pixels), 40)]
    return found


def assert_nothing_of(images: Path, *, text: bytes, left: Path) -> None:
    said = [("what was printed", text)]
    said += [(str(path), path.read_bytes()) for path in left.rglob("*") if path.is_file()]
    for where, content in said:
        for trace in traces(images):
            assert trace not in content, f"{trace[:60]!r} in {where}"


@pytest.fixture
def temporary() -> Iterator[Path]:
    """The folder of all temporary files; Ray requires a short path."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def run(temporary: Path, *words: str | Path) -> bytes:
    """Run happysad on the images and return its output."""
    places = dict.fromkeys(("TMPDIR", "RAY_TMPDIR", "HOME"), str(temporary))
    env = os.environ | places | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*HAPPYSAD, *words], capture_output=True, env=env)
    assert done.returncode == 1, done.stderr  # one image is broken
    return done.stdout + done.stderr


def test_the_traces_would_be_found(images: Path, tmp_path: Path) -> None:
    copy = tmp_path / "left" / "copy"
    copy.parent.mkdir()
    for content in (
        (images / "a.jpg").read_bytes(),
        b"x" + base64.b64encode(b"yz" + (images / "b.png").read_bytes()[-9000:]),
        np.asarray(Image.open(images / "b.png")).tobytes(),
    ):
        copy.write_bytes(content)
        with pytest.raises(AssertionError, match=r"left/copy"):
            assert_nothing_of(images, text=b"", left=copy.parent)


def test_predicting_leaves_answers_alone(images: Path, temporary: Path, tmp_path: Path) -> None:
    table = tmp_path / "faces.csv"
    printed = run(temporary, "predict", images, "--json", "--csv", table)
    rows = list(csv.DictReader(io.StringIO(table.read_text("utf-8"))))
    assert len(rows) == 3
    assert list(temporary.iterdir()) == []
    assert_nothing_of(images, text=printed + table.read_bytes(), left=temporary)


def test_scoring_leaves_answers_alone(images: Path, temporary: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    report, scores = tmp_path / "scores.html", tmp_path / "scores"
    printed = run(temporary, "score", images, "--out", scores, "--report", report)
    # Ray's logs are here, and objects that it spilled to disk.
    assert any(temporary.rglob("*.log"))
    assert_nothing_of(images, text=printed + report.read_bytes(), left=temporary)
    assert_nothing_of(images, text=b"", left=scores)


def test_the_server_contacts_no_one(images: Path) -> None:
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    import httpx
    from running import serving

    # The process cannot write to any file.
    with serving("--workers", "1", may_write=False) as server:
        for path in sorted(images.iterdir()):
            kind = {"content-type": "image/jpeg"}
            httpx.post(f"{server.url}/v1/predict", content=path.read_bytes(), headers=kind)
        files = [("files", (f"{SECRET}.jpg", path.read_bytes())) for path in images.iterdir()]
        answer = httpx.post(f"{server.url}/v1/predict", files=files)
        assert len(json.loads(answer.content)) == 3
        metrics = httpx.get(f"{server.url}/metrics").content
        assert b"happysad_images" in metrics
        _, log = server.stop()
    assert_nothing_of(images, text=metrics + log.encode(), left=images / "none")
