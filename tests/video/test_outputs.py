import csv
from pathlib import Path

import numpy as np
import pytest

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
        for image in noise(25):
            write(image)
        assert not path.exists()

    with Video(path) as video:
        assert video.rate == pytest.approx(rate, rel=0.01)
        assert len(list(video.frames())) == 25
    assert list(path.parent.iterdir()) == [path]


def test_odd_and_changing_sizes_lose_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "odd.mp4"
    with video_writer(path, (65, 47), 30) as write:
        for size in ((65, 47), (33, 20), (200, 100)):
            write(noise(1, *size)[0])

    with Video(path) as video:
        assert video.size == (64, 46)
        assert len(list(video.frames())) == 3


def test_nothing_half_done_is_left_behind(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        video_writer(tmp_path / "x.mp4", (64, 48), 30) as write,
    ):
        write(noise(1)[0])
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_failed_writes_are_reported(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file, no folder")
    source = str(tmp_path / "clip.mp4")
    with video_writer(Path(source), (64, 48), 30) as write:
        write(noise(1)[0])

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


def test_the_video_itself_is_not_written_over(tmp_path: Path) -> None:
    source = tmp_path / "talk.mp4"
    source.touch()

    for out in (tmp_path, source, tmp_path / "." / "talk.mp4"):
        with pytest.raises(HappysadError, match="is the source video"):
            annotated_path(out, str(source))
