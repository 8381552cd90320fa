"""Training on one worker and on two, a core each: images per second, and what comes of it.

Both train by the same recipe from the same seed: the packaged `fine-tune`, with fewer epochs. The
figures of speed are of the stage that trains the backbone. What two cores can give at best is
measured beside them: two trainings that know nothing of each other, added up.

python benchmarks/parallel_training.py FOLDER WEIGHTS [--images 800] [--epochs 3]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from happysad.training.recipe import read_recipe, recipe_toml

Rows = list[dict[str, float]]


def start(folder: Path, recipe: Path, out: Path, cores: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start a training with as many workers as cores."""
    command = [sys.executable, "-m", "happysad", "train", str(folder)]
    command += ["--recipe", str(recipe), "--out", str(out), "--workers", str(len(cores))]
    available = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    finally:
        os.sched_setaffinity(0, available)


def history(process: subprocess.Popen[bytes], out: Path) -> Rows:
    """Wait for a training and give its epochs."""
    # 1: some images of the folder were left out.
    if process.wait() not in (0, 1):
        raise SystemExit(f"the training in {out} failed")
    header, *rows = (line.split(",") for line in (out / "history.csv").read_text().splitlines())
    return [dict(zip(header, map(float, row), strict=True)) for row in rows]


def speed(rows: Rows) -> float:
    """Images per second; a stage's first epoch waits for TensorFlow to make its graph."""
    return statistics.median(
        r["images_per_second"] for r in [r for r in rows if r["stage"] == 2][1:]
    )


def exchange(numbers: int, rounds: int) -> float:
    """Milliseconds that two workers take to add up so many numbers, on an otherwise idle Ray."""
    import ray

    from happysad.cluster.parallel import _Exchange, _gather
    from happysad.cluster.session import session
    from happysad.training.workers import Workers

    def other(exchange: object) -> None:
        gather = partial(_gather, exchange, 1)
        for _ in range(rounds + 5):
            Workers(1, 2, gather).sum([np.ones(numbers, np.float32)])

    with session(None, 2):
        meeting = ray.remote(_Exchange).options(num_cpus=0).remote(2)
        task = ray.remote(other).remote(meeting)
        first = Workers(0, 2, partial(_gather, meeting, 0, watched=[task]))
        times = []
        for _ in range(rounds + 5):
            begin = time.perf_counter()
            first.sum([np.ones(numbers, np.float32)])
            times.append(time.perf_counter() - begin)
    return 1000 * statistics.median(times[5:])


def main() -> None:
    """Train and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path, help="with happy/ and sad/")
    arguments.add_argument("weights", help="of MobileNetV2 without its top, or none")
    arguments.add_argument("--images", type=int, default=800)
    arguments.add_argument("--epochs", type=int, default=3)
    options = arguments.parse_args()
    print(f"adding up 2.3 million numbers of two workers: {exchange(2_300_000, 40):.1f} ms")
    recipe = read_recipe("fine-tune")
    head, rest = recipe.stages
    stages = (head, replace(rest, epochs=options.epochs))
    recipe = replace(recipe, weights=options.weights, stages=stages)
    print(
        f"{options.images} images, a fifth for validation, {options.epochs} epochs of "
        f"{rest.layers}, batches of {recipe.batch_size}, seed {recipe.seed}"
    )
    print(f"{'':<24}{'images/s':>10}{'val loss':>10}{'val acc.':>10}")
    first, second = sorted(os.sched_getaffinity(0))[:2]
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "recipe.toml"
        file.write_text(recipe_toml(recipe))
        some = Path(name) / "faces"
        for label in ("happy", "sad"):
            (some / label).mkdir(parents=True)
            for image in sorted((options.folder / label).iterdir())[: options.images // 2]:
                (some / label / image.name).symlink_to(image.resolve())
        for what, groups in (
            ("one worker", [(first,)]),
            ("two workers", [(first, second)]),
            ("two trainings, summed", [(first,), (second,)]),
        ):
            outs = [Path(name) / f"{what}-{number}" for number in range(len(groups))]
            processes = [start(some, file, out, c) for out, c in zip(outs, groups, strict=True)]
            runs = [history(p, out) for p, out in zip(processes, outs, strict=True)]
            last = runs[0][-1]
            print(
                f"{what:<24}{sum(map(speed, runs)):>10.1f}"
                f"{last['val_loss']:>10.4f}{last['val_accuracy']:>10.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
