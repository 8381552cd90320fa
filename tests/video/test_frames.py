import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from happysad.errors import ImageError
from happysad.image import RgbImage
from happysad.video.frames import Video
from happysad.video.outputs import video_writer
from happysad.video.watch import is_video

COUNT, RATE, SIZE = 60, 30.0, (160, 120)


def image(number: int) -> RgbImage:
    """Red above, blue below; a white bar that moves to the right."""
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    image[: SIZE[1] // 2] = (200, 30, 30)
    image[SIZE[1] // 2 :] = (30, 30, 200)
    image[:, 2 * number : 2 * number + 8] = 255
    return image


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of `image`."""
    path = tmp_path_factory.mktemp("földer 笑") / "clip.mp4"
    with video_writer(path, SIZE, RATE) as write:
        for number in range(COUNT):
            write(image(number))
    return path


def test_frames_come_in_order_with_their_times_and_in_rgb(clip: Path) -> None:
    with Video(clip) as video:
        frames = list(video.frames())

    assert (video.size, video.rate, video.count, video.live) == (SIZE, RATE, COUNT, False)
    assert not video.broken
    assert [frame.number for frame in frames] == list(range(COUNT))
    assert [frame.time for frame in frames] == pytest.approx(np.arange(COUNT) / RATE)
    for frame in (frames[0], frames[-1]):
        assert frame.image.shape == (*SIZE[::-1], 3)
        difference = np.abs(frame.image.astype(int) - image(frame.number))
        assert difference.mean() < 12


def test_every_third_frame_keeps_its_number_and_time(clip: Path) -> None:
    with Video(clip) as video:
        frames = list(video.frames(every=3))

    assert [frame.number for frame in frames] == list(range(0, COUNT, 3))
    assert [frame.time for frame in frames] == pytest.approx(np.arange(0, COUNT, 3) / RATE)
    assert not video.broken


def test_the_rotation_a_phone_notes_is_applied(clip: Path, tmp_path: Path) -> None:
    content = bytearray(clip.read_bytes())
    # The matrix of the track's header (ISO/IEC 14496-12, 8.3.2): a quarter turn to the right.
    matrix = content.index(b"tkhd") + 44
    quarter = (0, 1 << 16, 0, -1 << 16, 0, 0, SIZE[1] << 16, 0, 1 << 30)
    content[matrix : matrix + 36] = struct.pack(">9i", *quarter)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(content)

    with Video(turned) as video:
        image = next(video.frames()).image

    assert video.size == SIZE[::-1]
    assert image.shape == (*SIZE, 3)
    # What was above is right now.
    assert image[80:, -20:].mean((0, 1)) == pytest.approx((200, 30, 30), abs=25)
    assert image[80:, :20].mean((0, 1)) == pytest.approx((30, 30, 200), abs=25)


def test_a_variable_frame_rate_is_told_by_the_times(clip: Path, tmp_path: Path) -> None:
    content = bytearray(clip.read_bytes())
    # Times to sample (8.6.1.2): of one run of equal frames make two, the second half as fast; the
    # list of edits (8.6.5), which would end the film early, goes.
    i = content.index(b"stts")
    entries, count, delta = struct.unpack(">3I", content[i + 8 : i + 20])
    assert (entries, count) == (1, COUNT)
    content[i + 8 : i + 20] = struct.pack(">5I", 2, 30, delta, COUNT - 30, 2 * delta)
    for box in (b"stts", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        at = content.index(box) - 4
        content[at : at + 4] = struct.pack(">I", struct.unpack(">I", content[at : at + 4])[0] + 8)
    content[content.index(b"edts") :][:4] = b"free"
    at = content.index(b"edts")
    content[at : at + 4] = b"free"
    path = tmp_path / "variable.mp4"
    path.write_bytes(content)

    with Video(path) as video:
        times = [frame.time for frame in video.frames()]

    assert len(times) == COUNT
    assert np.diff(times)[:29] == pytest.approx(1 / RATE, abs=1e-3)
    assert np.diff(times)[31:] == pytest.approx(2 / RATE, abs=1e-3)


def front_loaded(clip: Path) -> bytes:
    """The clip with its index first, as files for the web have it."""
    content = clip.read_bytes()
    start = content.index(b"moov") - 4
    index, data = bytearray(content[start:]), content[:start]
    # Chunk offsets (8.7.5) now point further on.
    at = index.index(b"stco") + 12
    (number,) = struct.unpack(">I", index[at - 4 : at])
    offsets = struct.unpack(f">{number}I", index[at : at + 4 * number])
    moved = (offset + len(index) for offset in offsets)
    index[at : at + 4 * number] = struct.pack(f">{number}I", *moved)
    first = int.from_bytes(data[:4])
    return data[:first] + bytes(index) + data[first:]


@pytest.mark.parametrize("kind", ["mp4", "avi", "mkv"])
def test_a_truncated_file_keeps_its_results(clip: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"short.{kind}"
    if kind == "mp4":
        path.write_bytes(front_loaded(clip))
    else:
        codec = cv2.VideoWriter.fourcc(*{"avi": "MJPG", "mkv": "mp4v"}[kind])
        writer = cv2.VideoWriter(str(path), codec, RATE, SIZE)
        for number in range(COUNT):
            writer.write(image(number))
        writer.release()
    with Video(path) as video:
        assert len(list(video.frames())) == COUNT
        assert not video.broken
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 7 // 10])

    with Video(path) as video:
        seen = len(list(video.frames()))

    assert 10 < seen < COUNT - 5
    assert video.broken


def test_unreadable_videos_give_one_line(clip: Path, tmp_path: Path) -> None:
    text, empty, short = (tmp_path / name for name in ("text.mp4", "empty.mov", "short.mp4"))
    text.write_text("not a film")
    empty.touch()
    short.write_bytes(clip.read_bytes()[:-500])
    for path in (text, empty, short):
        with pytest.raises(ImageError, match=r"cannot be read .*; .*copy") as caught:
            Video(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)
    with pytest.raises(ImageError, match="no such file"):
        Video(tmp_path / "none.mp4")
    with pytest.raises(ImageError, match="not a camera number; the first camera is camera:0"):
        Video("camera:front")
    with pytest.raises(ImageError, match="the camera does not respond"):
        Video("camera:97")
    with pytest.raises(ImageError, match="no response"):
        Video("http://127.0.0.1:9/film.mp4")


def test_large_frames_are_refused(clip: Path) -> None:
    with pytest.raises(ImageError, match=r"160×120 pixels, over the limit of 0\.01 million"):
        Video(clip, max_pixels=10_000)


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_names_that_are_not_utf8_are_refused_not_crashed_on(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    path.write_bytes(clip.read_bytes())

    with pytest.raises(ImageError, match="must be valid UTF-8"):
        Video(path)


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("a/talk.MP4", True),
        ("x.webm", True),
        ("camera:0", True),
        ("rtsp://host/door", True),
        ("https://host/x", True),
        ("party.jpg", False),
        ("-", False),
        ("mp4", False),
    ],
)
def test_videos_are_known_by_name(source: str, answer: bool) -> None:
    assert is_video(source) is answer


@contextmanager
def served(kind: str, chunks: list[bytes], pause: float = 0.0, length: int = 0) -> Iterator[str]:
    """Serve chunks over HTTP, then break off."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            if length:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            try:
                for chunk in chunks:
                    self.wfile.write(chunk)
                    self.wfile.flush()
                    time.sleep(pause)
            except OSError:
                # The reader has gone.
                pass

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/stream"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def mjpeg(count: int) -> list[bytes]:
    chunks = []
    for number in range(count):
        pixels = cv2.cvtColor(image(number % COUNT), cv2.COLOR_RGB2BGR)
        jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
        head = f"--x\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        chunks.append(head.encode() + jpeg + b"\r\n")
    return chunks


MJPEG = "multipart/x-mixed-replace; boundary=x"


def test_a_broken_stream_keeps_its_results() -> None:
    with served(MJPEG, mjpeg(50), pause=0.01) as address, Video(address) as video:
        frames = list(video.frames())

    assert video.live
    assert video.broken
    assert frames
    numbers = [frame.number for frame in frames]
    assert numbers == sorted(set(numbers))
    # The last one is never dropped.
    assert numbers[-1] >= 45


def test_who_is_slow_gets_the_latest_frame_of_a_stream_and_never_lags() -> None:
    with served(MJPEG, mjpeg(120), pause=0.01) as address, Video(address) as video:
        numbers = []
        for frame in video.frames():
            numbers.append(frame.number)
            time.sleep(0.2)

    assert len(numbers) < 40
    assert numbers[-1] >= 110


def test_one_can_stop_looking_at_a_stream() -> None:
    with served(MJPEG, mjpeg(500), pause=0.01) as address, Video(address) as video:
        for frame in video.frames():
            if frame.number > 3:
                break
    assert not any(thread.name == "capture" for thread in threading.enumerate())
    assert not video.broken


def test_a_recording_on_the_web_is_read_whole_and_told_when_cut(clip: Path) -> None:
    content = front_loaded(clip)
    for part, broken in ((content, False), (content[: len(content) * 7 // 10], True)):
        served_clip = served("video/mp4", [part], length=len(content))
        with served_clip as address, Video(address) as video:
            count = len(list(video.frames()))
        assert not video.live
        assert video.broken is broken
        assert (count < COUNT) is broken
