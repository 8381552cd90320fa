"""`happysad score` on real clusters: exactly one row for each image, whatever fails."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from web import accessibility_violations, chromium

from happysad import Detector
from happysad.errors import HappysadError, StoreError
from happysad.records import FaceRecord, ImageRecord, ScoresRecord, image_record
from happysad.scoring.contact_sheet import EACH, contact_sheet
from happysad.scoring.job import Job
from happysad.scoring.score import ScoringResult, load_model, score
from happysad.scoring.summary import ScoringSummary
from happysad.scoring.worker import SCHEMA

HAPPYSAD = str(Path(sys.executable).with_name("happysad"))
Rows = list[dict[str, Any]]


def rows_of(dest: Path) -> Rows:
    rows: Rows = pq.read_table(dest).to_pylist()
    return rows


def run(source: str | Path, dest: str | Path, **options: Any) -> ScoringResult:
    return score(str(source), str(dest), model=load_model(None), **options)


def faces_in(path: Path) -> Any:
    """Return the faces that `happysad predict` finds in an image."""
    return image_record(Detector().predict_image(path))["faces"]


@pytest.fixture(scope="session")
def whole(cluster: Any, album: Path, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The rows of an undisturbed job on the album."""
    dest = tmp_path_factory.mktemp("whole") / "scores"
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    run(album, dest, chunk_size=20)
    ray.shutdown()
    return rows_of(dest)


def test_each_image_has_one_row_equal_to_predict(whole: Rows, album: Path) -> None:
    assert [row["uri"] for row in whole] == [str(path) for path in sorted(album.iterdir())]
    assert whole[0]["status"] == "ok" and whole[0]["faces"] == faces_in(album / "000.jpg")
    broken = whole[123]
    assert broken["status"] == "error" and "not an image" in broken["error"]
    assert broken["sha256"] and broken["size"] == len(b"no image") and broken["faces"] == []
    assert sum(row["status"] == "error" for row in whole) == 1


def test_lists_tars_and_parquet_files_are_sources(
    driver: None, album: Path, tmp_path: Path
) -> None:
    content = (album / "000.jpg").read_bytes()
    (tmp_path / "a.csv").write_text(f"path,note\nb.jpg,here\n{album}/001.jpg,\nnowhere.jpg,\n")
    (tmp_path / "b.jpg").write_bytes(content)
    pq.write_table(pa.table({"uri": [f"file://{album}/002.jpg"]}), tmp_path / "c.parquet")
    images = [{"bytes": content, "path": "x.jpg"}, {"bytes": None, "path": "y.jpg"}] * 2
    pq.write_table(pa.table({"image": images}), tmp_path / "d.parquet", row_group_size=3)
    (tmp_path / "e.parquet").write_bytes(b"no Parquet")
    with tarfile.open(tmp_path / "f.tar", "w") as archive:
        for name, inside in (("1.jpg", content), ("1.json", b"{}"), ("2.png", b"?")):
            member = tarfile.TarInfo(name)
            member.size = len(inside)
            archive.addfile(member, io.BytesIO(inside))
    half = (tmp_path / "f.tar").read_bytes()[: len(content) // 2]
    (tmp_path / "g.tar").write_bytes(half)

    outcome = run(f"{tmp_path}/*", tmp_path / "out", chunk_size=2)

    rows = rows_of(tmp_path / "out")
    called = [(row["uri"].removeprefix(f"{tmp_path}/"), row["status"]) for row in rows]
    assert called == [
        ("b.jpg", "ok"),
        (f"{album}/001.jpg", "ok"),
        ("nowhere.jpg", "error"),
        ("b.jpg", "ok"),
        (f"file://{album}/002.jpg", "ok"),
        *((f"d.parquet#{n}", "error" if n % 2 else "ok") for n in range(4)),
        ("e.parquet", "error"),
        ("f.tar#1.jpg", "ok"),
        ("f.tar#2.png", "error"),
        ("g.tar", "error"),
    ]
    answers = {json.dumps(row["faces"]) for row in rows if row["uri"].endswith(("b.jpg", "#1.jpg"))}
    assert len(answers) == 1
    assert "no such file" in rows[2]["error"] and "cannot be read" in rows[9]["error"]
    assert outcome.summary.counts.errors == 6 and outcome.summary.counts.statuses["ok"] == 7

    def shown() -> set[str]:
        samples = contact_sheet(str(tmp_path / "out"), outcome.job).values()
        return {face.uri.removeprefix(f"{tmp_path}/") for faces in samples for face in faces}

    scored = {name for name, status in called if status == "ok"}
    assert shown() == scored
    (tmp_path / "b.jpg").unlink()
    assert shown() == scored - {"b.jpg"}


def test_a_face_of_an_image_that_is_listed_twice_is_shown_once(
    driver: None, album: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("path\n" + f"{album}/000.jpg\n" * 3)
    outcome = run(tmp_path / "a.csv", tmp_path / "out", chunk_size=2)
    samples = contact_sheet(str(tmp_path / "out"), outcome.job)
    assert outcome.job.chunks == 2
    assert sum(map(len, samples.values())) == len(faces_in(album / "000.jpg"))


def test_chunks_of_a_killed_worker_and_a_killed_node_are_scored_again_once(
    driver: None, cluster: Any, album: Path, tmp_path: Path, whole: Rows
) -> None:
    doomed = cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    cluster.wait_for_nodes()
    finished, killed = [], []

    def disturb(job: Job, summary: ScoringSummary) -> None:
        finished.append(summary)
        if len(finished) == 3:
            killed.append(kill_worker(cluster))
        if len(finished) == 10:
            cluster.remove_node(doomed, allow_graceful=False)

    outcome = run(album, tmp_path / "out", chunk_size=5, on_chunk=disturb)

    assert killed and len(finished) == outcome.job.chunks == 60
    assert rows_of(tmp_path / "out") == whole
    assert outcome.summary.counts.images == 300


def kill_worker(cluster: Any) -> int:
    """SIGKILL a process of the cluster that scores a chunk; returns its id."""
    raylets = {node.all_processes["raylet"][0].process.pid for node in cluster.worker_nodes}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "cmdline").read_text()
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if name.startswith("ray::score_chunk") and parent in raylets:
            os.kill(int(process.name), signal.SIGKILL)
            return int(process.name)
    raise AssertionError("no worker found")


def test_an_image_that_kills_its_process_is_a_row_with_the_error(
    cluster: Any, album: Path, tmp_path: Path
) -> None:
    ray.init(
        cluster.address,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"worker_process_setup_hook": deadly_images()},
    )
    for name, content in (("1", b"deadly"), ("2", (album / "000.jpg").read_bytes())):
        (tmp_path / f"{name}.jpg").write_bytes(content)
    try:
        run(tmp_path, tmp_path / "out", chunk_size=5, workers=1)
    finally:
        ray.shutdown()
    deadly, other = rows_of(tmp_path / "out")
    assert deadly["error"] == "the process that decoded it died twice"
    assert other["status"] == "ok", other["error"]


def deadly_images() -> Callable[[], None]:
    """Return a hook that lets some bytes kill a process, as a bug in a native decoder might."""

    def hook() -> None:
        import os

        import happysad.image

        real = happysad.image.LazyImage.__init__

        def init(self: Any, source: Any, *rest: Any) -> None:
            if source == b"deadly":
                os._exit(11)
            real(self, source, *rest)

        happysad.image.LazyImage.__init__ = init  # type: ignore[assignment, method-assign]

    return hook


def test_a_killed_job_continues_with_its_remaining_chunks(
    album: Path, tmp_path: Path, whole: Rows
) -> None:
    command = [HAPPYSAD, "score", str(album), "--out", "out", "--workers", "1", "--chunk-size", "5"]
    job = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    out = tmp_path / "out"
    while len(list(out.glob("part-*"))) < 5 and job.poll() is None:
        time.sleep(0.02)
    job.kill()
    job.wait()
    before = {path: path.stat().st_mtime_ns for path in out.glob("part-*")}
    assert 5 <= len(before) < 60

    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 2 and "--resume" in again.stderr and again.stderr.count("\n") == 1

    command += ["--resume", "--json", "--report", "report.html"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr  # one image cannot be read
    assert rows_of(out) == whole
    assert {path: path.stat().st_mtime_ns for path in before} == before
    facts = json.loads(done.stdout)
    assert facts["images"] == 300 and facts["statuses"]["error"] == 1
    assert sum(facts["histogram"]) == sum(facts["labels"].values()) == 299
    assert facts["failures"][0]["uri"] == str(album / "123.jpg")
    report = (tmp_path / "report.html").read_text("utf-8")
    assert str(album / "123.jpg") in report and "http" not in report
    samples = {label: min(EACH, count) for label, count in facts["labels"].items()}
    assert report.count("<figure") == sum(samples.values()) > 0
    with chromium() as browser:
        page = browser.new_page()
        page.goto((tmp_path / "report.html").as_uri())
        assert not accessibility_violations(page)


def test_ctrl_c_does_not_interrupt_the_start_of_ray() -> None:
    """Ray's threads would crash the process at its exit."""
    code = """
import signal
import ray
from happysad.ray_session import connect

start = ray.init

def init(*arguments, **options):
    signal.raise_signal(signal.SIGINT)
    start(*arguments, **options)
    print("started", ray.is_initialized())

ray.init = init
try:
    with connect(None, 1):
        print("the block must not run")
except KeyboardInterrupt:
    print("interrupted", ray.is_initialized())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "started True\ninterrupted False\n"), done.stderr


def test_images_and_rows_may_be_in_an_object_store(
    driver: None, bucket: Any, album: Path, tmp_path: Path, whole: Rows
) -> None:
    for name in ("000.jpg", "001.jpg", "123.jpg"):
        bucket.upload_file(str(album / name), f"album/{name}")
    run("s3://images/album", "s3://images/scores", chunk_size=2)
    made = sorted(item.key for item in bucket.objects.filter(Prefix="scores/part"))
    assert made == ["scores/part-000000.parquet", "scores/part-000001.parquet"]
    rows: Rows = []
    for key in made:
        bucket.download_file(key, str(tmp_path / "part.parquet"))
        rows += rows_of(tmp_path / "part.parquet")
    expected = [whole[0], whole[1], whole[123]]
    assert rows == [row | {"uri": f"s3://images/album/{row['uri'][-7:]}"} for row in expected]
    # The job is finished: nothing is scored, and the summary is the same.
    again = run("s3://images/album", "s3://images/scores", resume=True)
    assert again.summary.counts.statuses == {"ok": 2, "no face": 0, "error": 1}


def test_a_job_that_cannot_run_raises_one_line(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), tmp_path / "none.parquet")
    for source, dest, options, says in (
        (tmp_path / "nowhere", out, {}, "no such file or folder"),
        (tmp_path, out, {}, "no images in this folder"),
        (tmp_path / "none.parquet", out, {}, "none.parquet: holds no images"),
        (album, album, {}, "give an empty or new folder"),
        ("ftp://host/album", out, {}, "give a path, s3://bucket/key or gs://bucket/key"),
        (album, out, {"address": "127.0.0.1:1"}, "no Ray cluster at this address"),
    ):
        with pytest.raises(HappysadError, match=says) as caught:
            run(source, dest, **options)
        assert "\n" not in str(caught.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StoreError, match="does not respond"):
        run("s3://elsewhere/album", out)


def test_the_columns_are_the_fields_of_the_record() -> None:
    face = SCHEMA.field("faces").type.value_type
    assert set(SCHEMA.names) - {"uri", "sha256", "size"} == (
        set(get_type_hints(ImageRecord)) - {"schema", "path"}
    )
    assert {field.name for field in face} == set(get_type_hints(FaceRecord))
    assert {field.name for field in face.field("scores").type} == set(get_type_hints(ScoresRecord))


def test_a_terminal_shows_progress_and_skipped_files(album: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    os.link(album / "000.jpg", images / "1.jpg")
    (images / "notes.txt").touch()
    terminal, error = pty.openpty()
    command = [HAPPYSAD, "score", "images", "--out", "scores[v2]", "--workers", "1"]
    job = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=error, text=True)
    os.close(error)
    shown = read_all(terminal)
    output, _ = job.communicate()
    os.close(terminal)
    assert job.returncode == 0, shown
    assert "Rows: scores[v2], 1 Parquet file" in output
    assert f"Skipped, not images: 1 ({images}/notes.txt)" in shown
    assert -1 < shown.find("Loading") < shown.find("Starting Ray")


def read_all(terminal: int) -> str:
    """Read what a process writes to a terminal until it ends."""
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # Linux reports the end of a terminal as an error.
            return shown.decode()


@pytest.mark.parametrize(
    ("source", "report", "says"),
    [("000.jpg", "000.jpg", "exists and is not a text file"), ("", "new.html", "SOURCE is empty")],
)
def test_the_command_line_refuses_at_once(
    album: Path, tmp_path: Path, source: str, report: str, says: str
) -> None:
    photo = tmp_path / "000.jpg"
    photo.write_bytes((album / "000.jpg").read_bytes())
    command = [sys.executable, "-m", "happysad", "score", source, "--out", "scores"]
    done = subprocess.run(
        [*command, "--report", report], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr and done.stderr.count("\n") == 1
    assert photo.read_bytes() == (album / "000.jpg").read_bytes()
    assert not (tmp_path / "scores").exists()
