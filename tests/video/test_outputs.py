import csv
from pathlib import Path

import av
import numpy as np
import pytest
from films import COUNT, RATE, encode, image
from PIL import Image

from happysad.errors import HappysadError
from happysad.image import RgbImage
from happysad.prediction import Face, Prediction, Scores
from happysad.video.frames import Video
from happysad.video.outputs import (
    COLUMNS,
    annotated_path,
    annotated_video,
    timeline_rows,
    video_writer,
)
from happysad.video.watch import FrameResult


def noise(count: int, width: int = 64, height: int = 48) -> RgbImage:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("rate", [30.0, 23.976, 240.0])
def test_all_frames_are_there_at_their_rate(tmp_path: Path, suffix: str, rate: float) -> None:
    path = tmp_path / "new" / f"é{suffix}"
    with video_writer(path, (64, 48), rate) as write:
        for number, image in enumerate(noise(25)):
            write(image, number / rate)
        assert not path.exists()

    with Video(path) as video:
        assert video.rate == pytest.approx(rate, rel=0.01)
        assert len(list(video.frames())) == 25
    assert list(path.parent.iterdir()) == [path]


def copy(source: Path, target: Path) -> bool:
    """Write an annotated copy without persons; return whether sound is missing from it."""
    with Video(source) as video:
        with annotated_video(target, video) as write:
            for frame in video.frames():
                write(frame, FrameResult(frame.time, frame.number, {}, ()))
        return video.sound_damaged


def sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def sound(path: Path) -> tuple[float, float, float]:
    """The length in seconds, the mean level, and when it begins."""
    resampler = av.AudioResampler("fltp", "mono", 48_000)
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
        begin = frames[0].time or 0.0
        start = (container.start_time or 0) / av.time_base
    resampled = [part for frame in frames for part in resampler.resample(frame)]
    samples = np.concatenate([part.to_ndarray()[0] for part in resampled])
    return len(samples) / 48_000, float(np.abs(samples).mean()), begin - start


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("source", [".mp4", ".mkv", ".ts", ".avi", ".mpg"])
def test_a_copy_has_the_timestamps_and_the_sound(tmp_path: Path, source: str, suffix: str) -> None:
    uneven = [0, 0.04, 0.2, 0.24, 0.6, 1.0]
    if source in (".avi", ".mpg"):
        uneven = [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    kind = {".ts": "mpegts"}.get(source)
    codec = {".avi": "mpeg4", ".mpg": "mpeg2video"}.get(source, "h264")
    film = encode(tmp_path / f"film{source}", codec, uneven, sound=2, container=kind)
    target = tmp_path / f"copy{suffix}"

    copy(film, target)

    with Video(film) as original, Video(target) as copied:
        times = [[frame.time for frame in each.frames()] for each in (original, copied)]
        assert not copied.broken
    assert times[1] == pytest.approx(times[0], abs=2e-3)
    length, level, begin = sound(target)
    assert (length, level) == pytest.approx((2, sound(film)[1]), abs=0.06)
    assert begin == pytest.approx(0, abs=0.06)


def test_sound_that_fits_is_copied_unchanged(tmp_path: Path) -> None:
    film = encode(tmp_path / "film.mkv", sound=1)

    copy(film, tmp_path / "copy.mp4")

    assert sound_packets(tmp_path / "copy.mp4") == sound_packets(film)
    with av.open(str(tmp_path / "copy.mp4")) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264", "aac"]
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("codec", ["mp2", "aac"])
def test_sound_of_joined_films_is_whole(tmp_path: Path, suffix: str, codec: str) -> None:
    """The timestamps start again, and the second film may have sound of another format."""
    video = "mpeg2video" if codec == "mp2" else "h264"
    parts = [
        encode(tmp_path / f"{number}.ts", video, sound=2, sound_rate=rate, container="mpegts")
        for number, rate in enumerate((48_000, 48_000 if codec == "aac" else 44_100))
    ]
    film = tmp_path / "film.ts"
    film.write_bytes(b"".join(part.read_bytes() for part in parts))

    assert not copy(film, tmp_path / f"copy{suffix}")

    with Video(tmp_path / f"copy{suffix}") as copied:
        times = [frame.time for frame in copied.frames()]
    assert len(times) == pytest.approx(2 * COUNT, abs=2)
    assert np.diff(times) == pytest.approx(1 / RATE, abs=0.04)
    length, level, _ = sound(tmp_path / f"copy{suffix}")
    assert (length, level) == pytest.approx((4, sound(parts[0])[1]), abs=0.1)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_damaged_sound_is_reported_and_the_rest_is_copied(tmp_path: Path, suffix: str) -> None:
    film = encode(tmp_path / "film.ts", "h264", sound=2, container="mpegts")
    content = bytearray(film.read_bytes())
    # The middle of the sound loses the headers of its frames (ADTS).
    headers = [at for at in range(len(content)) if content[at : at + 3] == b"\xff\xf1\x4c"]
    for at in headers[len(headers) // 3 : len(headers) // 2]:
        content[at : at + 7] = bytes(7)
    film.write_bytes(content)

    assert copy(film, tmp_path / f"copy{suffix}")

    with Video(tmp_path / f"copy{suffix}") as copied:
        assert len(list(copied.frames())) == COUNT
    assert 1 < sound(tmp_path / f"copy{suffix}")[0] < 1.95


def test_an_animation_is_copied_to_a_video(tmp_path: Path) -> None:
    images = [Image.fromarray(image(number)) for number in (0, 20, 40)]
    images[0].save(tmp_path / "x.gif", save_all=True, append_images=images[1:], duration=200)

    copy(tmp_path / "x.gif", tmp_path / "x.mp4")

    with Video(tmp_path / "x.mp4") as video:
        assert [frame.time for frame in video.frames()] == pytest.approx([0, 0.2, 0.4], abs=1e-3)


def test_odd_and_changing_sizes_lose_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "odd.mp4"
    with video_writer(path, (65, 47), 30) as write:
        for number, size in enumerate(((65, 47), (33, 20), (200, 100))):
            write(noise(1, *size)[0], number / 30)

    with Video(path) as video:
        assert video.size == (64, 46)
        assert len(list(video.frames())) == 3


def test_no_partial_output_is_left(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        video_writer(tmp_path / "x.mp4", (64, 48), 30) as write,
    ):
        write(noise(1)[0], 0)
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_failed_writes_are_reported(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file, no folder")
    source = str(tmp_path / "clip.mp4")
    with video_writer(Path(source), (64, 48), 30) as write:
        write(noise(1)[0], 0)

    with (
        Video(source) as video,
        pytest.raises(HappysadError, match=r"x\.mp4: cannot be written \("),
        annotated_video(taken / "x.mp4", video),
    ):
        pass
    with (
        pytest.raises(HappysadError, match=r"x\.csv: cannot be written \("),
        timeline_rows(taken / "x.csv"),
    ):
        pass
    assert taken.read_text() == "a file, no folder"


def test_rows_are_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.csv"
    person = Prediction("happy", Scores(0.75, 0.25), Face((1.25, -2, 30, 40), (), 0.9))
    with timeline_rows(path) as write:
        write(FrameResult(0.5, 15, {1: person, 3: person}, ()))
        write(FrameResult(0.6, 18, {}, ()))
        with path.open(newline="") as file:
            rows = list(csv.reader(file))

    row = ["0.500", "15", "1", "happy", "0.750000", "1.2", "-2.0", "30.0", "40.0"]
    assert rows == [list(COLUMNS), row, [*row[:2], "3", *row[3:]]]


def test_the_copy_s_name(tmp_path: Path) -> None:
    source = tmp_path / "talk.mov"
    source.touch()
    out = tmp_path / "out"

    assert annotated_path(out, str(source)) == out / "talk.mp4"
    assert annotated_path(tmp_path / "a.webm", str(source)) == tmp_path / "a.webm"
    assert annotated_path(out, "camera:0") == out / "camera-0.mp4"
    assert annotated_path(out, "rtsp://host:554/door?x=1") == out / "rtsp-host-554-door-x-1.mp4"
    with pytest.raises(HappysadError, match=r"written as \.mp4 or \.webm"):
        annotated_path(tmp_path / "a.mkv", str(source))


def test_the_copies_of_long_urls_have_names_of_their_own(tmp_path: Path) -> None:
    urls = [f"https://host/{'笑' * 100}.m3u8?token={'x' * 300}{number}" for number in (1, 2)]

    names = [annotated_path(tmp_path, url).name for url in urls]

    assert names[0] != names[1]
    assert all(len(name.encode()) <= 255 and name.endswith(".mp4") for name in names)


def test_the_video_itself_is_not_written_over(tmp_path: Path) -> None:
    source = tmp_path / "talk.mp4"
    source.touch()

    for out in (tmp_path, source, tmp_path / "." / "talk.mp4"):
        with pytest.raises(HappysadError, match="is the source video"):
            annotated_path(out, str(source))


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_an_earlier_copy_may_be_replaced(tmp_path: Path, suffix: str) -> None:
    copy = tmp_path / f"copy{suffix}"
    with video_writer(copy, (64, 48), 10.0) as write:
        write(np.zeros((48, 64, 3), np.uint8), 0.0)
    assert annotated_path(copy, "camera:0") == copy
    copy.write_bytes(b"something else")
    with pytest.raises(HappysadError, match="exists and is not an annotated copy"):
        annotated_path(copy, "camera:0")
