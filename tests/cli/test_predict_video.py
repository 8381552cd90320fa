"""`happysad predict` on videos, as a user runs it."""

import base64
import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from films import encode
from PIL import Image
from web import QuietHandler, chromium, web, web_folder

from happysad.classifier import Precision
from happysad.image import RgbImage
from happysad.video.frames import Video
from happysad.video.outputs import COLUMNS, video_writer

COUNT, RATE, SIZE = 45, 15.0, (480, 240)
COMMAND = [sys.executable, "-m", "happysad", "predict"]
Files = dict[Precision, Path]


def frames(count: int = COUNT) -> Iterator[RgbImage]:
    """A reddish portrait that moves over a background from frame 10 on."""
    path = Path(mpl.get_data_path(), "sample_data", "grace_hopper.jpg")
    portrait = np.asarray(Image.open(path).resize((170, 200)))
    portrait = (portrait * (1, 0.8, 0.6)).astype(np.uint8)
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
    background = patches.repeat(80, axis=0).repeat(120, axis=1)
    for number in range(count):
        image = background.copy()
        if number >= 10:
            left = 10 + 4 * number
            image[20:220, left : left + 170] = portrait
        yield image


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / "walk.mp4"
    with video_writer(path, SIZE, RATE) as write:
        for number, image in enumerate(frames()):
            write(image, number / RATE)
    return path


def predict(*arguments: str | Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        env={**os.environ, "COLUMNS": "160"},
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_one_person_walks_by(clip: Path, tmp_path: Path, model_files: Files) -> None:
    table, film, plot = (tmp_path / name for name in ("t.csv", "boxes.mp4", "talk.png"))

    status, out, errors = predict(
        *(clip, "--model", model_files["int8"]),
        *("--csv", table, "--annotate", film, "--plot", plot),
    )

    assert (status, errors) == (0, "")
    *_, row = (line.split() for line in out.splitlines() if line.strip())
    assert row[:6] == ["1", "0:00.7", "0:02.9", "100%", "0%", "0%"]

    with table.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert tuple(reader.fieldnames or ()) == COLUMNS
    assert [int(row["frame"]) for row in rows] == list(range(10, COUNT))
    assert {(row["person"], row["label"]) for row in rows} == {("1", "happy")}
    lefts = [float(row["left"]) for row in rows]
    assert lefts[-1] - lefts[0] == pytest.approx(4 * (COUNT - 11), abs=12)
    assert float(rows[0]["time"]) == pytest.approx(10 / RATE, abs=0.002)

    with Video(clip) as plain, Video(film) as boxes:
        pairs = list(zip(plain.frames(), boxes.frames(), strict=True))
    assert len(pairs) == COUNT
    changed = [np.abs(a.image.astype(int) - b.image).mean() for a, b in pairs]
    assert max(changed[:10]) + 0.3 < min(changed[10:])

    with Image.open(plot) as image:
        assert image.format == "PNG"
        assert image.width > 800


def test_json_lines_report_each_change(clip: Path, model_files: Files) -> None:
    status, out, errors = predict(clip, "--model", model_files["int8"], "--json", "--every", "5")

    assert (status, errors) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["event"] for line in lines] == ["appears", "leaves", "end"]
    appears, leaves, end = lines
    for line in lines:
        assert (line["schema"], line["path"]) == (2, str(clip))
    assert (appears["person"], appears["frame"], leaves["frame"]) == (1, 10, 40)
    assert appears["time"] == pytest.approx(10 / RATE, abs=0.002)
    assert appears["label"] == leaves["label"] == "happy"
    assert 0.55 < appears["probability"] < 1
    assert len(appears["box"]) == 4
    assert end == {
        **{"schema": 2, "path": str(clip), "event": "end"},
        **{"time": 2.667, "frame": 40, "persons": 1, "whole": True},
    }


def test_frames_between_looks_carry_the_boxes(clip: Path, tmp_path: Path) -> None:
    assert predict(clip, "--annotate", tmp_path / "out", "--every", "20")[0] == 0

    with Video(clip) as plain, Video(tmp_path / "out" / "walk.mp4") as boxes:
        pairs = list(zip(plain.frames(), boxes.frames(), strict=True))
    changed = [np.abs(a.image.astype(int) - b.image).mean() for a, b in pairs]
    assert len(pairs) == COUNT
    assert max(changed[:20]) + 0.3 < min(changed[20:])


def test_a_video_without_people_is_reported(tmp_path: Path) -> None:
    # Rich reads the one as an emoji and the other as markup; Windows has no such names.
    path = tmp_path / ("empty.mp4" if os.name == "nt" else "empty :cat: [x].mp4")
    with video_writer(path, SIZE, RATE) as write:
        for number, image in enumerate(frames(5)):
            write(image, number / RATE)

    status, out, errors = predict(path, "--plot", tmp_path / "talk.png")

    assert (status, errors) == (0, "")
    assert out.strip() == f"{path}: no face was found"
    assert (tmp_path / "talk.png").exists()


def test_a_truncated_video_is_reported(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.webm"
    with video_writer(path, SIZE, RATE) as write:
        for number, image in enumerate(frames()):
            write(image, number / RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])

    status, out, errors = predict(path, "--json", "--csv", tmp_path / "rows.csv")

    assert status == 1
    assert errors.startswith(f"error: {path}: breaks off after 0:0")
    assert len(errors.splitlines()) == 1
    end = json.loads(out.splitlines()[-1])
    assert (end["event"], end["whole"]) == ("end", False)
    assert (tmp_path / "rows.csv").read_text().count("\n") > 5


def test_impossible_requests_give_one_line_and_status_2(clip: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("not a film")
    taken = tmp_path / "taken"
    taken.write_text("a file, no folder")
    film, photo = tmp_path / "film.webm", tmp_path / "photo.png"
    film.write_bytes(b"\x1aE\xdf\xa3 a film")
    Image.new("RGB", (9, 9)).save(photo)
    for arguments, says in (
        ((text,), "cannot be read (damaged, truncated, or not a video)"),
        ((clip, "--annotate", clip), "is the source video"),
        ((clip, "--annotate", tmp_path / "boxes.gif"), "written as .mp4 or .webm"),
        ((clip, "--annotate", film), "film.webm: exists and is not an annotated copy"),
        (
            (clip, "--annotate", tmp_path / "a.mp4", "--csv", tmp_path / "." / "a.mp4"),
            "a.mp4: is given for both --csv and --annotate; give another name",
        ),
        (
            (clip, "--plot", tmp_path / "a.png", "--csv", tmp_path / "a.png"),
            "a.png: is given for both --csv and --plot",
        ),
        ((clip, "--plot", photo), "photo.png: exists and is not a plot"),
        ((clip, "--csv", clip), "exists and is not a text file"),
        ((clip, "--csv", "-"), "CSV needs the name of a file"),
        ((clip, "--csv", taken / "x.csv"), "cannot be written"),
        ((clip, "--plot", taken / "x.png"), "cannot be written"),
        ((clip, "--plot", tmp_path / "talk"), ".png, .svg or .pdf"),
    ):
        status, _, errors = predict(*arguments)
        assert status == 2, arguments
        assert errors.startswith("error: ")
        assert says in errors
        assert len(errors.splitlines()) == 1
    names = ["film.webm", "photo.png", "taken", "text.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert film.read_bytes() == b"\x1aE\xdf\xa3 a film"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_full_disk_is_one_line(clip: Path, tmp_path: Path) -> None:
    status, _, errors = predict(clip, "--csv", "/dev/full")
    assert (status, len(errors.splitlines())) == (2, 1)
    assert "/dev/full: cannot be written (No space left on device)" in errors

    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from happysad.cli import main; main()"
    )
    film = tmp_path / "boxes.mp4"
    command = [sys.executable, "-c", limited, "predict", str(clip), "--annotate", str(film)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert f"{film}: cannot be written (File too large)" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_url_of_an_image_is_an_image(clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "www"
    folder.mkdir()
    portrait = Path(mpl.get_data_path(), "sample_data", "grace_hopper.jpg")
    # The suffixes do not identify the format.
    (folder / "portrait").write_bytes(portrait.read_bytes())
    (folder / "film.jpg").write_bytes(clip.read_bytes())
    local = json.loads(predict(portrait, "--json")[1])
    with web_folder(folder) as address:
        url = f"{address}/portrait?size=[large]"
        status, out, errors = predict(url, portrait, "--json", "--annotate", tmp_path / "copies")
        assert (status, out.count("\n")) == (0, 2), errors
        record = json.loads(out.splitlines()[0])
        assert record == {**local, "path": url}
        (copy,) = (tmp_path / "copies" / "127.0.0.1").iterdir()
        assert re.fullmatch(r"portrait-[0-9a-f]{8}\.jpg", copy.name)

        status, out, _ = predict(f"{address}/film.jpg", "--json")
        assert (status, json.loads(out.splitlines()[-1])["event"]) == (0, "end")

        (folder / "page.html").write_text("<p>no image</p>")
        (folder / "na\u00efve one.jpg").write_bytes(portrait.read_bytes())
        urls = [f"{address}/{name}" for name in ("none.jpg", "page.html", "na\u00efve one.jpg")]
        nowhere = "http://127.0.0.1:1/x.jpg"
        status, out, errors = predict(*urls, nowhere, address.upper() + "/portrait", "--json")
        results = [json.loads(line)["status"] for line in out.splitlines()]
        assert (status, results) == (1, ["error", "error", "ok", "error", "ok"])
        assert "none.jpg: cannot be downloaded (status 404)" in errors
        assert "page.html: cannot be read (not an image" in errors
        assert f"{nowhere}: cannot be downloaded (" in errors


def test_a_camera_may_need_a_password_which_no_other_host_gets() -> None:
    received = []
    portrait = Path(mpl.get_data_path(), "sample_data", "grace_hopper.jpg").read_bytes()

    class Camera(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802
            received.append((self.path, self.headers["Authorization"]))
            if self.path == "/moved.jpg":
                self.send_response(302)
                self.send_header("Location", "/portrait.jpg")
            elif self.path == "/closed.jpg" and not self.headers["Authorization"]:
                self.send_response(401)
            else:
                self.send_response(200)
                self.send_header("Content-Type", "image/jpeg")
            self.end_headers()
            self.wfile.write(portrait)

    with web(Camera) as url:
        address = url.removeprefix("http://")
        urls = [f"http://{user}{address}/closed.jpg" for user in ("me:p%40ss@", "")]
        status, out, errors = predict(*urls, f"http://me:p%40ss@{address}/moved.jpg", "--json")

    assert (status, [json.loads(line)["status"] for line in out.splitlines()]) == (
        1,
        ["ok", "error", "ok"],
    )
    assert errors.count("status 401") == 1
    key = f"Basic {base64.b64encode(b'me:p@ss').decode()}"
    assert set(received) == {
        ("/closed.jpg", key),
        ("/closed.jpg", None),
        ("/moved.jpg", key),
        ("/portrait.jpg", None),
    }


def test_a_glob_pattern_may_match_a_video(clip: Path, tmp_path: Path) -> None:
    shutil.copy(clip, tmp_path / "one.mp4")
    pattern = tmp_path / "*.mp4"

    assert json.loads(predict(pattern, "--json")[1].splitlines()[-1])["path"].endswith("one.mp4")
    shutil.copy(clip, tmp_path / "two.mp4")
    status, _, errors = predict(pattern)
    assert status == 2
    assert errors.endswith("one.mp4: only one video at a time; give it as the only source\n")


def test_an_animation_among_images_is_an_image(tmp_path: Path) -> None:
    portrait = Image.fromarray(next(iter(frames(1))))
    portrait.save(tmp_path / "a.gif", save_all=True, append_images=[Image.new("RGB", SIZE, "red")])
    portrait.save(tmp_path / "b.png")

    for sources in ([tmp_path / "a.gif", tmp_path / "b.png"], [tmp_path / "*"]):
        status, out, errors = predict(*sources, "--json")
        assert status == 0, errors
        names = [Path(json.loads(line)["path"]).name for line in out.splitlines()]
        assert names == ["a.gif", "b.png"]


def test_damaged_frames_are_reported(tmp_path: Path) -> None:
    path = encode(tmp_path / "x.mkv", "mjpeg")
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xd8\xff", len(content) // 2)
    content[at : at + 1000] = bytes(1000)
    path.write_bytes(content)

    status, out, errors = predict(path, "--json")

    assert (status, errors) == (1, f"error: {path}: 1 damaged frame was skipped\n")
    assert json.loads(out.splitlines()[-1])["whole"] is False


def test_the_copy_plays_in_a_browser(clip: Path, tmp_path: Path) -> None:
    for name in ("copy.mp4", "copy.webm"):
        assert predict(clip, "--annotate", tmp_path / name)[0] == 0
        with web_folder(tmp_path) as address, chromium() as browser:
            page = browser.new_page()
            page.goto(f"{address}/")
            length = page.evaluate(
                """async (name) => {
                    const video = document.createElement("video");
                    video.src = name;
                    video.muted = true;
                    await video.play();
                    await new Promise((resolve) => (video.onended = resolve));
                    return [video.videoWidth, video.currentTime];
                }""",
                name,
            )
        assert length == pytest.approx([SIZE[0], COUNT / RATE], abs=0.1)


@pytest.fixture
def camera() -> Iterator[str]:
    """A network camera: 20 frames per second, endless."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802 (the name that http.server calls)
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=x")
            self.end_headers()
            try:
                while True:
                    for jpeg in jpegs:
                        head = f"--x\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}"
                        self.wfile.write(head.encode() + b"\r\n\r\n" + jpeg + b"\r\n")
                        time.sleep(0.05)
            except OSError:
                # The viewer has gone.
                pass

    jpegs = []
    for image in list(frames())[10:]:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=90)
        jpegs.append(file.getvalue())
    with web(Handler) as address:
        yield f"{address}/live"


@pytest.mark.skipif(os.name == "nt", reason="sends Ctrl-C the POSIX way")
@pytest.mark.parametrize("as_json", [True, False])
def test_ctrl_c_ends_a_camera_with_everything_written(
    camera: str, tmp_path: Path, as_json: bool
) -> None:
    table, film = tmp_path / "rows.csv", tmp_path / "boxes.mp4"
    options = ["--csv", str(table), "--annotate", str(film), *(["--json"] if as_json else [])]
    process = subprocess.Popen(
        [*COMMAND, camera, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    # The first line is printed while the camera is running.
    first = process.stdout.readline()
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)

    assert (process.returncode, errors) == (0, "")
    if as_json:
        assert json.loads(first)["event"] == "appears"
        last = json.loads(out.splitlines()[-1])
        assert (last["event"], last["path"], last["whole"]) == ("end", camera, True)
    else:
        assert "person 1" in first
        assert "mean P(happy)" in out
    with table.open(newline="") as file:
        times = [float(row["time"]) for row in csv.DictReader(file)]
    with Video(film) as video:
        assert not video.broken
        length = len(list(video.frames())) / video.rate
    assert length == pytest.approx(times[-1], abs=0.3)
