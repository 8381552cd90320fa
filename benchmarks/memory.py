"""Memory of `happysad predict` over thousands of images, and over a long video. Linux only.

python benchmarks/memory.py [--images 5000] [--frames 10000]

Images of many sizes and a video with two faces that come and go are made in a temporary folder.
The resident memory of the process is sampled every fifth of a second: the mean of the second and of
the last quarter of the run, the most, and the growth from one to the other per thousand.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from matplotlib import cbook
from PIL import Image, ImageOps

from happysad.video.outputs import video_writer

HAPPYSAD = str(Path(sys.executable).with_name("happysad"))


def portrait() -> Image.Image:
    """Matplotlib's image of Grace Hopper."""
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as file:
        return file.convert("RGB")


def make_images(folder: Path, count: int) -> None:
    """Make JPEGs of up to 1000 pixels with one to six faces; most are links to one of the first."""
    face, rng = portrait(), np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number:05}.jpg"
        if number >= 60:
            os.link(folder / f"{number % 60:05}.jpg", path)
            continue
        width, height = (int(side) for side in rng.integers(200, 1000, 2))
        image = Image.new("RGB", (width, height), tuple(rng.integers(0, 256, 3).tolist()))
        for _ in range(rng.integers(1, 7)):
            side = int(rng.integers(60, 300))
            at = (int(rng.integers(0, width)) - side // 2, int(rng.integers(0, height)) - side // 2)
            image.paste(face.resize((side, side * 6 // 5)), at)
        image.save(path)


def make_video(path: Path, frames: int) -> None:
    """Make a 640×480 video: two faces that wander, now and then out of the image."""
    faces = [portrait().resize((170, 200)), ImageOps.mirror(portrait().resize((120, 140)))]
    with video_writer(path, (640, 480), 25) as write:
        for number in range(frames):
            image = Image.new("RGB", (640, 480), (60, 80, 60))
            for index, face in enumerate(faces):
                angle = number / (70 + 30 * index)
                at = (int(230 + 420 * np.sin(angle)), int(120 + 60 * np.cos(1.7 * angle)))
                image.paste(face, at)
            write(np.asarray(image), number / 25)


def watch(command: list[str]) -> tuple[list[float], float]:
    """Run a command; returns its resident memory in MB, sampled, and its seconds."""
    page = os.sysconf("SC_PAGE_SIZE")
    samples = []
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
        samples.append(int(pages) * page / 1e6)
        time.sleep(0.2)
    if process.returncode:
        sys.exit(f"failed with status {process.returncode}: {command}")
    return samples, time.perf_counter() - start


def report(name: str, count: int, samples: list[float], seconds: float) -> None:
    """Print one row."""
    quarter = max(1, len(samples) // 4)
    early = statistics.mean(samples[quarter : 2 * quarter] or samples)
    late = statistics.mean(samples[-quarter:])
    # Half of the run is between the centres of the two quarters.
    growth = (late - early) / (count / 2) * 1000
    print(
        f"| {count:,} {name} | {early:.1f} MB | {late:.1f} MB | {max(samples):.1f} MB "
        f"| {growth:+.2f} MB | {count / seconds:.0f} |",
        flush=True,
    )


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--frames", type=int, default=10000)
    arguments = parser.parse_args()
    print("| | second quarter | last quarter | most | growth per thousand | per second |")
    print("| --- " * 6 + "|")
    with tempfile.TemporaryDirectory() as name:
        images, video = Path(name, "images"), Path(name, "video.mp4")
        images.mkdir()
        make_images(images, arguments.images)
        report(
            "images",
            arguments.images,
            *watch([HAPPYSAD, "predict", "--json", str(images)]),
        )
        make_video(video, arguments.frames)
        report("frames", arguments.frames, *watch([HAPPYSAD, "predict", "--json", str(video)]))


if __name__ == "__main__":
    main()
