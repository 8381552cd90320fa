"""Cost of `happysad score`: against a plain loop, with two workers, over many images.

python benchmarks/scoring.py [overhead] [memory] [chunks] [store] [--photos FOLDER] [--images 2000]

Images are links to ten JPEGs of a portrait that Matplotlib ships, 640 to 658 pixels wide and 480
high, or to the photos of a folder.

overhead  One and two plain loops over `Detector`, one worker and two: images/s, and CPU time, which
          depends less on other load. Without Ray's start; the best of alternating rounds. Then the
          seconds of the whole command, and the most memory of the driver and of a worker.
memory    Resident memory of the driver and of the worker over many images, 160 to 178 pixels wide.
chunks    Chunks of one small image per second: the driver's overhead.
store     Requests to an S3 server on this machine, and bytes, for objects, a tar and the rows.
"""

import argparse
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import boto3
import ray
import werkzeug.serving
from moto.server import ThreadedMotoServer
from stages import make_image

from happysad import Detector
from happysad.ray_session import connect
from happysad.scoring.job import Job
from happysad.scoring.score import load_model, score
from happysad.scoring.summary import ScoringSummary

HAPPYSAD = str(Path(sys.executable).with_name("happysad"))


def make_album(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Write ten different images, and links to them."""
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:06}.jpg"
        if number < 10:
            path.write_bytes(make_image(size[0] + 2 * number, size[1], 0))
        else:
            os.link(folder / f"{number % 10:06}.jpg", path)
    return folder


@dataclass(frozen=True)
class Speed:
    """The speed of scoring.

    Attributes:
        wall: Images/s.
        cpu: CPU seconds per image, all processes.
        rest: Of these, Ray's own processes and the driver.
    """

    wall: float
    cpu: float
    rest: float = 0.0


def loops(album: Path, count: int) -> Speed:
    """Run loops in parallel processes: the machine's upper limit."""
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        # The first call starts the processes.
        list(pool.map(time.sleep, [1.0] * count))
        speeds = list(pool.map(plain, [album] * count))
    return Speed(sum(s.wall for s in speeds), sum(s.cpu for s in speeds) / count)


def plain(album: Path) -> Speed:
    """Loop over the images in one thread."""
    detector, paths = Detector(), sorted(album.iterdir())
    detector.predict(str(paths[0]))
    start, start_cpu = time.perf_counter(), time.process_time()
    for path in paths:
        detector.predict(path.read_bytes())
    wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    return Speed(len(paths) / wall, cpu / len(paths))


def scored(album: Path, dest: Path, workers: int) -> Speed:
    """Score, measured from each worker's first finished chunk to its last but one."""
    node: Any = ray._private.worker._global_node
    others = [processes[0].process.pid for processes in node.all_processes.values()]
    marks: list[tuple[float, float, float, int]] = []

    def on_chunk(job: Job, summary: ScoringSummary) -> None:
        working = sum(seconds_of(pid) for pid in workers_of(node))
        rest = sum(seconds_of(pid) for pid in [os.getpid(), *others])
        marks.append((time.perf_counter(), working, rest, summary.counts.images))

    options: dict[str, Any] = {"chunk_size": 50, "workers": workers, "on_chunk": on_chunk}
    score(str(album), str(dest), model=load_model(None), **options)
    shutil.rmtree(dest)
    first, *between = marks[workers - 1 : len(marks) - workers]
    images = sum(mark[3] for mark in between)
    wall, working, rest = (b - a for a, b in zip(first[:3], between[-1][:3], strict=True))
    return Speed(images / wall, (working + rest) / images, rest / images)


def link_album(folder: Path, photos: Path, count: int) -> Path:
    """Link the photos of a folder, again and again up to a number of images."""
    folder.mkdir()
    files = sorted(path for path in photos.iterdir() if path.is_file())
    for number in range(count):
        source = files[number % len(files)]
        (folder / f"{number:06}{source.suffix}").symlink_to(source.resolve())
    return folder


def overhead(folder: Path, photos: Path | None, count: int, rounds: int, whole: int) -> None:
    """Compare a plain loop, one worker and two."""

    def make(name: str, images: int) -> Path:
        if photos:
            return link_album(folder / name, photos, images)
        return make_album(folder / name, images, (640, 480))

    album = make("album", count)
    found: dict[str, list[Speed]] = defaultdict(list)
    with connect(None, 2):
        for _ in range(rounds):
            found["a plain loop"].append(plain(album))
            found["one worker"].append(scored(album, folder / "one", 1))
            found["two plain loops"].append(loops(album, 2))
            found["two workers"].append(scored(album, folder / "two", 2))
    print("| | images/s | CPU per image | of it outside the workers |")
    print("| --- " * 4 + "|")
    for name, speeds in found.items():
        least = min(speeds, key=lambda speed: speed.cpu)
        print(
            f"| {name} | {max(speed.wall for speed in speeds):.1f} | {1000 * least.cpu:.2f} ms "
            f"| {1000 * least.rest:.2f} ms |",
            flush=True,
        )
    start, most = time.perf_counter(), {"driver": 0.0, "worker": 0.0}
    dest = folder / "whole"
    command = [HAPPYSAD, "score", str(make("many", whole)), "--out", str(dest), "--json"]
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while job.poll() is None:
        time.sleep(1)
        for name, pids in (("driver", [job.pid]), ("worker", ray_processes("ray::score_chunk"))):
            most[name] = max([most[name], *map(resident, pids)])
    print(
        f"the whole command, {whole:,} images: {time.perf_counter() - start:.1f} s; memory of "
        f"the driver {most['driver']:.0f} MB, of a worker {most['worker']:.0f} MB"
    )
    sizes = [path.stat().st_size for path in dest.glob("part-*")]
    print(f"rows: {sum(sizes) / whole:.0f} bytes per image, in {len(sizes)} files", flush=True)


def small_chunks(folder: Path, count: int) -> None:
    """Measure the rate of chunks that take hardly any time."""
    album = make_album(folder / "chunks", count, (80, 60))
    options: dict[str, Any] = {"model": load_model(None), "crop": "whole", "chunk_size": 1}
    print("| chunks of one small image each | chunks/s |\n| --- | --- |")
    with connect(None, 2):
        for name, resume in (("scored", False), ("already finished, with --resume", True)):
            times: list[float] = []

            def on_chunk(job: Job, summary: ScoringSummary, times: list[float] = times) -> None:
                times.append(time.perf_counter())

            out = str(folder / "out-chunks")
            score(str(album), out, resume=resume, on_chunk=on_chunk, **options)
            print(f"| {name} | {(count - 1) / (times[-1] - times[0]):.0f} |", flush=True)


def resident(pid: int) -> float:
    """Resident memory in MB, without what is shared with other processes; 0 once it has ended."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0.0
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE") / 1e6


def memory(folder: Path, count: int) -> None:
    """Measure the driver's and a worker's memory while images are scored."""
    album = make_album(folder / "many", count, (160, 120))
    marks = [mark for mark in (1000, 5000, 10000, 20000, 30000, 40000, 50000) if mark <= count]
    images, start = 0, time.perf_counter()
    print("| images | driver | worker |\n| --- | --- | --- |")

    def on_chunk(job: Job, summary: ScoringSummary) -> None:
        nonlocal images
        images += summary.counts.images
        while marks and images >= marks[0]:
            worker = max(map(resident, workers_of(ray._private.worker._global_node)))
            print(
                f"| {marks.pop(0):,} | {resident(os.getpid()):.1f} MB | {worker:.1f} MB |",
                flush=True,
            )

    options: dict[str, Any] = {"chunk_size": 500, "workers": 1, "on_chunk": on_chunk}
    score(str(album), str(folder / "out"), model=load_model(None), **options)
    print(f"{count:,} images in {time.perf_counter() - start:.0f} s")


def seconds_of(pid: int) -> float:
    """Return a process's CPU time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def workers_of(node: Any) -> list[int]:
    """Return the worker processes of a node."""
    return ray_processes("ray::", node.all_processes["raylet"][0].process.pid)


def ray_processes(prefix: str, parent: int | None = None) -> list[int]:
    """Return the processes whose command begins with a prefix, of one parent or of any."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "cmdline").read_text()
            of = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if name.startswith(prefix) and parent in (None, of):
            found.append(int(process.name))
    return found


def store(folder: Path) -> None:
    """Count the requests to an object store."""
    requests: Counter[str] = Counter()

    def log(self: Any, code: Any = "-", size: Any = "-") -> None:
        requests[self.command] += 1

    werkzeug.serving.WSGIRequestHandler.log_request = log  # type: ignore[method-assign]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    bucket = boto3.resource("s3").Bucket("images")
    bucket.create()
    album = make_album(folder / "store", 1000, (640, 480))
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for path in sorted(album.iterdir()):
            content = path.read_bytes()
            bucket.put_object(Key=f"album/{path.name}", Body=content)
            member = tarfile.TarInfo(path.name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    bucket.put_object(Key="shards/a.tar", Body=tar.getvalue())
    print("| 1,000 images as | bytes read | requests | images/s |\n| --- | --- | --- | --- |")
    for name, source in (("objects", "album"), ("one tar", "shards/*.tar")):
        requests.clear()
        outcome = score(
            f"s3://images/{source}",
            f"s3://images/{name}",
            model=load_model(None),
            workers=1,
            chunk_size=1000,
        )
        asked = ", ".join(f"{count:,} {kind}" for kind, count in sorted(requests.items()))
        summary = outcome.summary
        print(
            f"| {name} | {summary.size:,} | {asked} "
            f"| {summary.counts.images / summary.seconds:.1f} |",
            flush=True,
        )
    server.stop()


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", default=["overhead", "memory", "chunks", "store"])
    parser.add_argument("--photos", type=Path, help="a folder of images")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--whole", type=int, default=4000, help="images of the whole command")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--many", type=int, default=50000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if "overhead" in arguments.what:
            overhead(
                Path(name), arguments.photos, arguments.images, arguments.rounds, arguments.whole
            )
        if "memory" in arguments.what:
            memory(Path(name), arguments.many)
        if "chunks" in arguments.what:
            small_chunks(Path(name), arguments.images)
        if "store" in arguments.what:
            store(Path(name))


if __name__ == "__main__":
    main()
