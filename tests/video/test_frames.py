import io
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from films import COUNT, RATE, SIZE, encode, image
from PIL import Image
from web import QuietHandler, web, web_folder

from happysad.errors import ImageError
from happysad.video.frames import Video
from happysad.video.kinds import is_video
from happysad.video.outputs import video_writer


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of `image`."""
    path = tmp_path_factory.mktemp("földer 笑") / "clip.mp4"
    with video_writer(path, SIZE, RATE) as write:
        for number in range(COUNT):
            write(image(number), number / RATE)
    return path


def test_frames_come_in_order_with_their_times_and_in_rgb(clip: Path) -> None:
    with Video(clip) as video:
        frames = list(video.frames())

    assert (video.size, video.rate, video.duration, video.live) == (SIZE, RATE, COUNT / RATE, False)
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
    # The upper part is now on the right.
    assert image[80:, -20:].mean((0, 1)) == pytest.approx((200, 30, 30), abs=25)
    assert image[80:, :20].mean((0, 1)) == pytest.approx((30, 30, 200), abs=25)


def test_timestamps_follow_a_variable_frame_rate(clip: Path, tmp_path: Path) -> None:
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
    """Return the clip with its index at the beginning, as for the web."""
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


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        *((".mkv", "h264"), (".webm", "libvpx"), (".mov", "mjpeg"), (".3gp", "mpeg4")),
        *((".ts", "h264"), (".mts", "h264"), (".mpg", "mpeg2video"), (".flv", "flv")),
        *((".wmv", "wmv2"), (".avi", "mpeg4")),
    ],
)
def test_containers_are_recognised_by_content(tmp_path: Path, suffix: str, codec: str) -> None:
    kind = {".mts": "mpegts", ".ts": "mpegts"}.get(suffix)
    encode(tmp_path / f"film{suffix}", codec, container=kind).rename(tmp_path / "film")

    assert is_video(str(tmp_path / "film"))
    with Video(tmp_path / "film") as video:
        times = [frame.time for frame in video.frames()]

    assert len(times) == pytest.approx(COUNT, abs=1)
    assert np.diff(times) == pytest.approx(1 / RATE, abs=2e-3)
    assert (video.broken, video.damaged) == (False, 0)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("rate", [5, 480])
def test_any_frame_rate_is_read_whole(tmp_path: Path, suffix: str, rate: int) -> None:
    codec = "libvpx" if suffix == ".webm" else "h264"
    path = encode(tmp_path / f"x{suffix}", codec, list(np.arange(COUNT) / rate))

    with Video(path) as video:
        times = [frame.time for frame in video.frames()]

    assert times == pytest.approx(np.arange(COUNT) / rate, abs=2e-3)
    assert not video.broken


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
def test_sound_that_outlasts_the_images_is_no_damage(tmp_path: Path, suffix: str) -> None:
    path = encode(tmp_path / f"x{suffix}", times=list(np.arange(30) / RATE), sound=3)

    with Video(path) as video:
        assert len(list(video.frames())) == 30

    assert video.sound
    assert not video.broken


def test_frames_are_resampled_to_square_pixels(tmp_path: Path) -> None:
    path = encode(tmp_path / "x.mkv", "mpeg4", aspect=Fraction(16, 11))

    with Video(path) as video:
        assert video.size == (round(SIZE[0] * 16 / 11), SIZE[1])
        assert next(video.frames()).image.shape == (SIZE[1], video.size[0], 3)


def test_videos_without_timestamps_get_some(tmp_path: Path) -> None:
    """A bare H.264 stream, as some cameras write it."""
    path = encode(tmp_path / "x.h264", "h264")

    with Video(path) as video:
        times = [frame.time for frame in video.frames()]

    assert len(times) == COUNT
    assert np.all(np.diff(times) > 0)
    assert not video.broken


def changing(folder: Path) -> Path:
    """A bare H.264 stream of the bar whose second half has half the size."""
    path = encode(folder / "x.h264", "h264")
    small = encode(folder / "small.h264", "h264", size=(SIZE[0] // 2, SIZE[1] // 2))
    path.write_bytes(path.read_bytes() + small.read_bytes())
    return path


def test_frames_keep_their_proportions_when_the_resolution_changes(tmp_path: Path) -> None:
    with Video(changing(tmp_path)) as video:
        frames = list(video.frames())

    assert [frame.image.shape for frame in frames[COUNT - 1 : COUNT + 1]] == [
        (SIZE[1], SIZE[0], 3),
        (SIZE[1] // 2, SIZE[0] // 2, 3),
    ]
    assert len(frames) == 2 * COUNT
    assert video.size == SIZE


def test_frames_that_become_too_large_are_skipped_and_counted(tmp_path: Path) -> None:
    path = changing(tmp_path)
    large = encode(tmp_path / "large.h264", "h264", size=(2 * SIZE[0], 2 * SIZE[1]))
    path.write_bytes(path.read_bytes() + large.read_bytes())

    with Video(path, max_pixels=SIZE[0] * SIZE[1]) as video:
        assert len(list(video.frames())) == 2 * COUNT

    assert video.damaged == COUNT


def test_damage_that_looks_like_another_stream_loses_no_frame(tmp_path: Path) -> None:
    path = encode(tmp_path / "x.ts", "h264", sound=2, container="mpegts")
    content = bytearray(path.read_bytes())
    # The last packet that begins a frame of the sound, which is written last, gets another
    # identifier (ISO/IEC 13818-1, 2.4.3.2).
    starts = range(0, len(content), 188)
    last = max(at for at in starts if content[at + 1 : at + 3] == b"\x41\x01")
    content[last + 2] = 0xFF
    path.write_bytes(content)

    with Video(path) as video:
        assert len(list(video.frames())) == COUNT


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "x.mp4"), "w") as output:
        tone = output.add_stream("aac", rate=48_000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.float32), "fltp", "mono")
        silence.rate = 48_000
        output.mux(tone.encode(silence))
        output.mux(tone.encode(None))

    with pytest.raises(ImageError, match=r"x\.mp4: has no images .*, only sound"):
        Video(tmp_path / "x.mp4")


def test_playlists_cannot_name_other_files(clip: Path, tmp_path: Path) -> None:
    for name, text in (
        ("list.mp4", f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{clip}\n#EXT-X-ENDLIST\n"),
        ("concat.mp4", f"ffconcat version 1.0\nfile '{clip}'\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(ImageError, match="cannot be read"):
            Video(tmp_path / name)


def test_damaged_frames_are_skipped_and_counted(tmp_path: Path) -> None:
    path = encode(tmp_path / "x.mkv", "mjpeg")
    content = bytearray(path.read_bytes())
    # The 10th frame's header and tables.
    at = 0
    for _ in range(10):
        at = content.index(b"\xff\xd8\xff", at + 1)
    content[at : at + 1000] = bytes(1000)
    path.write_bytes(content)

    with Video(path) as video:
        count = len(list(video.frames()))

    assert (count, video.damaged) == (COUNT - 1, 1)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".avif"])
def test_animations_are_videos(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    images = [Image.fromarray(image(number)) for number in range(0, 50, 10)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=[100, 50, 50, 200, 100])

    assert is_video(str(path))
    with Video(path) as video:
        frames = list(video.frames())

    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.15, 0.2, 0.4], abs=2e-3)
    for number, frame in enumerate(frames):
        assert np.abs(frame.image.astype(int) - image(10 * number)).mean() < 12
    assert (video.size, video.sound, video.live, video.broken) == (SIZE, False, False, False)

    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    if suffix in (".gif", ".png"):
        with Video(path) as video:
            assert 0 < len(list(video.frames())) < 5
        assert video.broken


@pytest.mark.parametrize(("suffix", "whole"), [(".gif", 4), (".png", 2)])
def test_a_damaged_animation_keeps_the_frames_before(
    tmp_path: Path, suffix: str, whole: int
) -> None:
    path = tmp_path / f"x{suffix}"
    images = [Image.fromarray(image(number)) for number in range(0, 50, 10)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=100)
    content = bytearray(path.read_bytes())
    if suffix == ".gif":
        # Ends after the last frame's graphic control extension and image descriptor.
        del content[content.rindex(b"\x21\xf9\x04") + 8 + 10 :]
    else:
        # The third frame's header has another sequence number.
        at = -1
        for _ in range(3):
            at = content.index(b"fcTL", at + 1)
        content[at + 7] ^= 0x40
    path.write_bytes(content)

    with Video(path) as video:
        assert len(list(video.frames())) == whole
    assert video.broken


def test_still_images_are_no_videos(tmp_path: Path) -> None:
    for suffix in (".gif", ".webp", ".png", ".avif", ".jpg", ".tif", ".heic"):
        path = tmp_path / f"x{suffix}"
        if suffix == ".heic":
            from pillow_heif import from_pillow

            from_pillow(Image.fromarray(image(0))).save(path)
        else:
            pages = [Image.new("L", SIZE)] if suffix == ".tif" else []
            Image.fromarray(image(0)).save(path, save_all=bool(pages), append_images=pages)
        assert not is_video(str(path)), suffix


@pytest.mark.parametrize("kind", ["mp4", "avi", "mkv"])
def test_a_truncated_file_keeps_its_results(clip: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"short.{kind}"
    if kind == "mp4":
        path.write_bytes(front_loaded(clip))
    else:
        encode(path, {"avi": "mjpeg", "mkv": "mpeg4"}[kind])
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
    # The index of the frames is at the end.
    short.write_bytes(clip.read_bytes()[:-700])
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
    with pytest.raises(ImageError, match="no response, or neither"):
        Video("http://127.0.0.1:9/film.mp4")


def test_large_frames_are_refused(clip: Path) -> None:
    with pytest.raises(ImageError, match=r"160×120 pixels, over the limit of 0\.01 million"):
        Video(clip, max_pixels=10_000)


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
@pytest.mark.parametrize("name", [b"caf\xe9.mp4", b"what:ever.mp4", b"%d.mp4", b"no suffix"])
def test_any_file_name_is_read(clip: Path, tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(clip.read_bytes())

    with Video(path) as video:
        assert len(list(video.frames())) == COUNT


def test_a_file_named_like_a_stream_is_a_file(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rtsp-door.mp4").write_bytes(clip.read_bytes())
    with Video("rtsp-door.mp4") as video:
        assert not video.live
        assert len(list(video.frames())) == COUNT


def test_the_case_of_a_scheme_does_not_matter(clip: Path) -> None:
    with web_folder(clip.parent) as address:
        url = f"{address}/{clip.name}".replace("http", "HTTP")
        assert is_video(url)
        with Video(url) as video:
            assert not video.live
            assert len(list(video.frames())) == COUNT


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("a/talk.MP4", True),
        ("x.webm", True),
        ("x.ogv", True),
        ("camera:0", True),
        ("rtsp://host/door", True),
        ("RTSP://host/door", True),
        ("party.jpg", False),
        ("-", False),
        ("mp4", False),
    ],
)
def test_videos_are_recognised_by_name(source: str, answer: bool) -> None:
    assert is_video(source) is answer


@contextmanager
def served(kind: str, chunks: list[bytes], pause: float = 0.0, length: int = 0) -> Iterator[str]:
    """Serve chunks over HTTP, then break off."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802 (the name that http.server calls)
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

    with web(Handler) as address:
        yield f"{address}/stream"


def mjpeg(count: int) -> list[bytes]:
    chunks = []
    for number in range(count):
        file = io.BytesIO()
        Image.fromarray(image(number % COUNT)).save(file, "JPEG")
        jpeg = file.getvalue()
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


def test_a_web_video_is_read_to_its_end_and_a_truncated_one_reported(clip: Path) -> None:
    content = front_loaded(clip)
    for part, broken in ((content, False), (content[: len(content) * 7 // 10], True)):
        served_clip = served("video/mp4", [part], length=len(content))
        with served_clip as address, Video(address) as video:
            count = len(list(video.frames()))
        assert not video.live
        assert video.broken is broken
        assert (count < COUNT) is broken
