"""Time of one image by stage, warm, with one thread and two.

python benchmarks/stages.py [--fer PYTHON] [--repeats 50]

Two JPEGs of one face each are made from a portrait: 640×480, and 4000×3000 with a camera's grain.
The stages are timed inside `Detector.predict`, each without those that it calls. Given the
interpreter of an environment that has the package fer, its Haar and MTCNN ways on the same files,
decoding included. Medians; CPU time counts all threads.
"""

import argparse
import functools
import io
import json
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from matplotlib import cbook
from PIL import Image

import happysad.detector
from happysad.classifier import Classifier
from happysad.detector import Detector
from happysad.faces import FaceDetector
from happysad.image import LazyImage

STAGES: Final = ("decode", "detect", "crop", "classify", "other")

RUN_FER = """
import json, statistics, sys, time
import cv2
from fer.fer import FER
repeats, results = int(sys.argv[1]), {}
for name, mtcnn in (("Haar", False), ("MTCNN", True)):
    try:
        detector = FER(mtcnn=mtcnn)
    except Exception as error:
        print(f"fer, {name}: {error}", file=sys.stderr)
        continue
    for path in sys.argv[2:]:
        wall, cpu = [], []
        for _ in range(repeats + 1):
            a, b = time.perf_counter(), time.process_time()
            detector.detect_emotions(cv2.imread(path))
            wall.append(time.perf_counter() - a)
            cpu.append(time.process_time() - b)
        results[f"{name} {path}"] = [statistics.median(wall[1:]), statistics.median(cpu[1:])]
print("RESULT" + json.dumps(results))
"""


class Stages:
    """Adds up the seconds of each stage, without those that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = 0.0

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function so that its time counts for a stage."""

        @functools.wraps(function)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            outer, self._inner = self._inner, 0.0
            start = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                whole = time.perf_counter() - start
                self.seconds[stage] += whole - self._inner
                self._inner = outer + whole

        return wrapped


def make_image(width: int, height: int, grain: float) -> bytes:
    """Make a JPEG with Grace Hopper's portrait in its middle."""
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as file:
        portrait = file.convert("RGB")
    scaled = portrait.resize((height * portrait.width // portrait.height, height))
    image = portrait.resize((8, 8)).resize((width, height), Image.Resampling.BICUBIC)
    image.paste(scaled, ((width - scaled.width) // 2, 0))
    noise = np.random.default_rng(0).normal(0, grain, (height, width, 1))
    pixels = (np.asarray(image) + noise).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def median_of(
    detector: Detector, stages: Stages, data: bytes, repeats: int
) -> tuple[dict[str, float], float]:
    """Median seconds of each stage (and of the whole), and of the whole in CPU time."""
    rows: dict[str, list[float]] = defaultdict(list)
    cpu = []
    for number in range(repeats + 3):
        stages.seconds.clear()
        start, start_cpu = time.perf_counter(), time.process_time()
        (_,) = detector.predict(data)
        whole, whole_cpu = time.perf_counter() - start, time.process_time() - start_cpu
        if number < 3:
            continue
        cpu.append(whole_cpu)
        rows["whole"].append(whole)
        rows["other"].append(whole - sum(stages.seconds.values()))
        for stage, seconds in stages.seconds.items():
            rows[stage].append(seconds)
    return {stage: statistics.median(values) for stage, values in rows.items()}, (
        statistics.median(cpu)
    )


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fer", metavar="PYTHON", help="of an environment with the package fer")
    parser.add_argument("--repeats", type=int, default=50)
    arguments = parser.parse_args()
    images = {
        "640×480": make_image(640, 480, 0),
        "4000×3000": make_image(4000, 3000, 4),
    }
    stages = Stages()
    # The steps of Detector.predict, where it finds them.
    steps: list[tuple[str, Any, str]] = [
        ("decode", happysad.detector, "open_image"),
        ("decode", LazyImage, "pixels"),
        ("detect", FaceDetector, "detect"),
        ("crop", happysad.detector, "crop_faces"),
        ("classify", Classifier, "scores"),
    ]
    for stage, home, name in steps:
        setattr(home, name, stages.timed(stage, getattr(home, name)))

    print("| image, threads | " + " | ".join(STAGES) + " | whole | CPU |")
    print("| --- " * (len(STAGES) + 3) + "|")
    own: dict[str, tuple[float, float]] = {}
    for name, data in images.items():
        for threads in (1, 2):
            cv2.setNumThreads(threads)
            seconds, cpu = median_of(Detector(threads=threads), stages, data, arguments.repeats)
            own.setdefault(name, (seconds["whole"], cpu))
            cells = (
                f"{1000 * seconds[stage]:.1f} ms ({seconds[stage] / seconds['whole']:.0%})"
                for stage in STAGES
            )
            print(
                f"| {name}, {threads} | {' | '.join(cells)} | {1000 * seconds['whole']:.1f} ms "
                f"| {1000 * cpu:.1f} ms |",
                flush=True,
            )
    if arguments.fer:
        compare_with_fer(arguments.fer, images, own, max(3, arguments.repeats // 10))


def compare_with_fer(
    python: str, images: dict[str, bytes], own: dict[str, tuple[float, float]], repeats: int
) -> None:
    """Print a table of fer's times, and how many times happysad's on one thread they are."""
    with tempfile.TemporaryDirectory() as folder:
        files = {str(Path(folder, f"{name}.jpg")): name for name in images}
        for path, name in files.items():
            Path(path).write_bytes(images[name])
        done = subprocess.run(
            [python, "-c", RUN_FER, str(repeats), *files],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    results = json.loads(done.stdout.rsplit("RESULT", 1)[1])
    print("\n| fer | wall | CPU | wall, ratio | CPU, ratio |\n" + "| --- " * 5 + "|")
    for key, (wall, cpu) in results.items():
        way, path = key.split(" ", 1)
        own_wall, own_cpu = own[files[path]]
        print(
            f"| {way}, {files[path]} | {1000 * wall:.0f} ms | {1000 * cpu:.0f} ms "
            f"| {wall / own_wall:.1f} | {cpu / own_cpu:.1f} |"
        )


if __name__ == "__main__":
    main()
