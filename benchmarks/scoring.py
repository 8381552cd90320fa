"""What `happysad score` costs: against a plain loop, with two workers, and over many images.

python benchmarks/scoring.py [overhead] [memory] [parts] [store] [--images 2000] [--many 50000]

Images are 640×480 JPEGs with a portrait that Matplotlib ships, links to ten different files.

overhead  one and two plain loops over `Detector`, one worker and two: images/s, and CPU time,
          which other work on the machine changes less. Ray's start does not count; the best of
          the rounds, taking turns. Then the seconds of the whole command.
memory    resident memory of the driver and of the worker over many images of 160×120 pixels.
parts     how many parts a second can be handed out.
store     requests and bytes of an S3 server on this machine, for images, a tar and the rows.
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
import cv2
import ray
import werkzeug.serving
from moto.server import ThreadedMotoServer
from stages import make_picture

from happysad import Detector
from happysad.ray_session import connect
from happysad.scoring.job import Job
from happysad.scoring.score import load_model, score
from happysad.scoring.summary import Scores

HAPPYSAD = str(Path(sys.executable).with_name("happysad"))


def make_album(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Make images of ten kinds; all but the first ten are links."""
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:06}.jpg"
        if number < 10:
            path.write_bytes(make_picture(size[0] + 2 * number, size[1], 0))
        else:
            os.link(folder / f"{number % 10:06}.jpg", path)
    return folder


@dataclass(frozen=True)
class Speed:
    """How fast images went by.

    Attributes:
        wall: Images/s.
        cpu: Seconds of CPU for an image, all processes.
        rest: Of it, what Ray's own processes and the driver took.
    """

    wall: float
    cpu: float
    rest: float = 0.0


def loops(album: Path, count: int) -> Speed:
    """So many loops at once, in processes of their own: what the machine gives at best."""
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        # The first starts the processes.
        list(pool.map(time.sleep, [1.0] * count))
        speeds = list(pool.map(plain, [album] * count))
    return Speed(sum(s.wall for s in speeds), sum(s.cpu for s in speeds) / count)


def plain(album: Path) -> Speed:
    """A loop over the images, in one thread."""
    # As in the workers: there is one for each core.
    cv2.setNumThreads(1)
    detector, paths = Detector(), sorted(album.iterdir())
    detector.predict(str(paths[0]))
    start, start_cpu = time.perf_counter(), time.process_time()
    for path in paths:
        detector.predict(path.read_bytes())
    wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    return Speed(len(paths) / wall, cpu / len(paths))


def scored(album: Path, dest: Path, workers: int) -> Speed:
    """A job, from the first part that each worker finished to the last but one of each."""
    node: Any = ray._private.worker._global_node
    others = [processes[0].process.pid for processes in node.all_processes.values()]
    marks: list[tuple[float, float, float, int]] = []

    def on_part(job: Job, scores: Scores) -> None:
        working = sum(seconds_of(pid) for pid in workers_of(node))
        rest = sum(seconds_of(pid) for pid in [os.getpid(), *others])
        marks.append((time.perf_counter(), working, rest, scores.counts.images))

    score(str(album), str(dest), model=load_model(None), part=50, workers=workers, on_part=on_part)
    shutil.rmtree(dest)
    first, *between = marks[workers - 1 : len(marks) - workers]
    images = sum(mark[3] for mark in between)
    wall, working, rest = (b - a for a, b in zip(first[:3], between[-1][:3], strict=True))
    return Speed(images / wall, (working + rest) / images, rest / images)


def overhead(folder: Path, count: int, rounds: int) -> None:
    """Print how a plain loop, one worker and two compare."""
    album = make_album(folder / "album", count, (640, 480))
    found: dict[str, list[Speed]] = defaultdict(list)
    with connect(None, 2):
        for _ in range(rounds):
            found["a plain loop"].append(plain(album))
            found["one worker"].append(scored(album, folder / "one", 1))
            found["two plain loops"].append(loops(album, 2))
            found["two workers"].append(scored(album, folder / "two", 2))
    print("| | images/s | CPU an image | of it outside the workers |")
    print("| --- " * 4 + "|")
    for name, speeds in found.items():
        least = min(speeds, key=lambda speed: speed.cpu)
        print(
            f"| {name} | {max(speed.wall for speed in speeds):.1f} | {1000 * least.cpu:.2f} ms "
            f"| {1000 * least.rest:.2f} ms |",
            flush=True,
        )
    start = time.perf_counter()
    command = [HAPPYSAD, "score", str(album), "--out", str(folder / "whole"), "--json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print(f"the whole command, {count:,} images: {time.perf_counter() - start:.1f} s")
    sizes = [path.stat().st_size for path in (folder / "whole").glob("part-*")]
    print(f"rows: {sum(sizes) / count:.0f} bytes an image, in {len(sizes)} files", flush=True)


def parts(folder: Path, count: int) -> None:
    """Print how many parts a second are handed out, where there is next to nothing in them."""
    album = make_album(folder / "parts", count, (80, 60))
    options: dict[str, Any] = {"model": load_model(None), "crop": "whole", "part": 1}
    print("| parts of one small image each | parts/s |\n| --- | --- |")
    with connect(None, 2):
        for name, resume in (("done", False), ("found done, with --resume", True)):
            times: list[float] = []

            def on_part(job: Job, scores: Scores, times: list[float] = times) -> None:
                times.append(time.perf_counter())

            out = str(folder / "out-parts")
            score(str(album), out, resume=resume, on_part=on_part, **options)
            print(f"| {name} | {(count - 1) / (times[-1] - times[0]):.0f} |", flush=True)


def resident(pid: int) -> float:
    """MB of memory that a process has to itself; what it shares with others is left out."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE") / 1e6


def memory(folder: Path, count: int) -> None:
    """Print the driver's and a worker's memory while images go by."""
    album = make_album(folder / "many", count, (160, 120))
    marks = [mark for mark in (1000, 5000, 10000, 20000, 30000, 40000, 50000) if mark <= count]
    images, start = 0, time.perf_counter()
    print("| images | driver | worker |\n| --- | --- | --- |")

    def on_part(job: Job, scores: Scores) -> None:
        nonlocal images
        images += scores.counts.images
        while marks and images >= marks[0]:
            (worker,) = workers_of(ray._private.worker._global_node)
            print(
                f"| {marks.pop(0):,} | {resident(os.getpid()):.1f} MB "
                f"| {resident(worker):.1f} MB |",
                flush=True,
            )

    options: dict[str, Any] = {"part": 500, "workers": 1, "on_part": on_part}
    score(str(album), str(folder / "out"), model=load_model(None), **options)
    print(f"{count:,} images in {time.perf_counter() - start:.0f} s")


def seconds_of(pid: int) -> float:
    """CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def workers_of(node: Any) -> list[int]:
    """Find the processes of a node that work on parts."""
    raylet = node.all_processes["raylet"][0].process.pid
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "cmdline").read_text()
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if name.startswith("ray::Worker") and parent == raylet:
            found.append(int(process.name))
    return found


def store(folder: Path) -> None:
    """Print which requests an object store gets."""
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
            part=1000,
        )
        asked = ", ".join(f"{count:,} {kind}" for kind, count in sorted(requests.items()))
        scores = outcome.scores
        print(
            f"| {name} | {scores.size:,} | {asked} | {scores.counts.images / scores.seconds:.1f} |",
            flush=True,
        )
    server.stop()


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", default=["overhead", "memory", "parts", "store"])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--many", type=int, default=50000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if "overhead" in arguments.what:
            overhead(Path(name), arguments.images, arguments.rounds)
        if "memory" in arguments.what:
            memory(Path(name), arguments.many)
        if "parts" in arguments.what:
            parts(Path(name), arguments.images)
        if "store" in arguments.what:
            store(Path(name))


if __name__ == "__main__":
    main()
