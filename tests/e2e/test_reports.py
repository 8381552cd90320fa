"""Public reports about comparable tools, tried on this one; see docs/reports.md."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import matplotlib.cbook
import numpy as np
import pytest
from PIL import Image
from running import Server, serving

from happysad import Detector, ImageError, read_image
from happysad.dataset.synthetic import make_dataset

HOPPER = Path(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


def happysad(
    *arguments: str | Path, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "happysad", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, cwd=cwd, env=os.environ | environment)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(may_write=False) as running:
        yield running


def test_a_crop_of_a_face_is_detected_again(detector: Detector) -> None:
    image = read_image(HOPPER)
    (face,) = detector.predict(image)
    left, top, width, height = (round(value) for value in face.face.box)

    for margin in (0.0, 0.1, 0.3):
        x, y = round(margin * width), round(margin * height)
        crop = image[max(0, top - y) : top + height + y, max(0, left - x) : left + width + x]
        (again,) = detector.predict(crop)
        assert again.scores.happy == pytest.approx(face.scores.happy, abs=0.25)


def test_an_image_without_a_face_gives_an_empty_list(detector: Detector) -> None:
    rng = np.random.default_rng(0)
    for image in (
        np.zeros((480, 640, 3), np.uint8),
        rng.integers(0, 256, (333, 501, 3), dtype=np.uint8),
        np.full((1, 1, 3), 255, np.uint8),
    ):
        assert detector.predict(image) == []


def test_what_opencv_returns_for_a_missing_file_is_named(detector: Detector) -> None:
    with pytest.raises(ImageError, match=r"give a path, .* or a NumPy array; received NoneType"):
        detector.predict(None)  # type: ignore[call-overload]


def test_views_of_arrays_give_the_answers_of_copies(detector: Detector) -> None:
    image = read_image(HOPPER)
    wide = np.zeros((600, 1031, 3), np.uint8)
    wide[:, 515:1027] = image
    for view in (wide[:, 515:1027], image[:, ::-1], np.asfortranarray(image), wide[::2, ::2]):
        assert detector.predict(view) == detector.predict(view.copy())


def test_bytes_and_pillow_images_need_no_name(detector: Detector) -> None:
    with Image.open(HOPPER) as image:
        assert detector.predict(image) == detector.predict(HOPPER.read_bytes())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_detector_that_was_used_works_in_a_forked_process() -> None:
    code = f"""
import multiprocessing, warnings
from happysad import Detector
warnings.simplefilter("ignore")
detector = Detector()
answers = list(detector.predict_many([{str(HOPPER)!r}] * 4, threads=2))
def again(_):
    return detector.predict({str(HOPPER)!r})
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(again, range(4)) == [list(answers[0].predictions)] * 4
print("same")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "same\n", done.stderr


def test_user_threads_share_a_detector(detector: Detector) -> None:
    expected = detector.predict(HOPPER)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(detector.predict, [str(HOPPER)] * 24)) == [expected] * 24


@pytest.mark.parametrize(
    "name", ["with space.jpg", "veículo.jpg", "지단.jpg", "[examples].jpg", "-.jpg", "a%20b#c?.jpg"]
)
def test_file_names_do_not_matter(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "my [photos]"
    folder.mkdir()
    shutil.copy(HOPPER, folder / name)

    for source in (folder, folder / name):
        done = happysad("predict", source, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["path"] == str(folder / name)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp932"])
def test_terminals_that_cannot_show_a_name_do_not_stop_the_rest(
    tmp_path: Path, encoding: str
) -> None:
    for name in ("지단.jpg", "\uf022.jpg", "é.jpg"):
        shutil.copy(HOPPER, tmp_path / name)
    (tmp_path / "브.jpg").write_text("not an image")

    done = happysad("predict", tmp_path, cwd=tmp_path, PYTHONIOENCODING=encoding)

    assert done.returncode == 1
    assert done.stdout.count(b" 1 of 1 ") == 3
    assert b"Traceback" not in done.stderr and b"cannot be read" in done.stderr


def test_checkpoints_of_notebooks_are_no_classes(tmp_path: Path) -> None:
    make_dataset(tmp_path / "faces [1]", 12)
    hidden = tmp_path / "faces [1]" / ".ipynb_checkpoints"
    shutil.copytree(tmp_path / "faces [1]" / "happy", hidden)
    shutil.copytree(hidden, tmp_path / "faces [1]" / "sad" / ".ipynb_checkpoints")

    done = happysad("dataset", "check", tmp_path / "faces [1]", "--json", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == {"sad": 6, "happy": 6}


def test_truncated_images_are_errors_of_their_own(tmp_path: Path, detector: Detector) -> None:
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF"):
        file = io.BytesIO()
        Image.open(HOPPER).save(file, kind)
        content = file.getvalue()
        results = detector.predict_many([content[: len(content) // 2], content])
        truncated, whole = results
        assert truncated.error or kind == "TIFF", kind
        assert len(whole.predictions) == 1, kind


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('name="files"; filename="\u6c49.jpg"', "\u6c49.jpg"),
        ('name="photo"; filename="a;b.jpg"', "a;b.jpg"),
        ('name="file"; filename="C:\\\\photos\\\\a.jpg"', None),
    ],
)
def test_uploads_may_have_any_name(server: Server, disposition: str, name: str | None) -> None:
    head = f"--x\r\nContent-Disposition: form-data; {disposition}\r\n"
    head += "Content-Type: image/jpeg\r\n\r\n"
    answer = httpx.post(
        f"{server.url}/v1/predict",
        content=head.encode() + HOPPER.read_bytes() + b"\r\n--x--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )

    assert answer.status_code == 200, answer.text
    (record,) = answer.json()
    assert record["status"] == "ok"
    assert name is None or record["path"] == name


@pytest.mark.parametrize(
    "body",
    [
        b"--x--\r\n",
        b'--x\r\nContent-Disposition: form-data; name="f"; filename=""\r\n\r\n\r\n--x--\r\n',
        b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\ntext\r\n--x--\r\n',
        b"",
        # RFC 7578, section 4.2: filename* must not be used.
        b"--x\r\nContent-Disposition: form-data; name=\"f\"; filename*=UTF-8''a.jpg\r\n\r\n"
        b"x\r\n--x--\r\n",
    ],
    ids=["empty", "no file chosen", "only text", "nothing", "filename*"],
)
def test_a_form_without_a_file_is_an_error_of_one_line(server: Server, body: bytes) -> None:
    answer = httpx.post(
        f"{server.url}/v1/predict",
        content=body,
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )

    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["detail"]
