"""Training on one worker and on two, one core each: images per second, and what comes of it.

Both train by the same recipe from the same seed: the packaged `fine-tune`, with fewer epochs and
images. The figures of speed are of the stage that trains the backbone.

python benchmarks/parallel_training.py FOLDER WEIGHTS [--images 1600] [--epochs 4]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from happysad.training.recipe import read_recipe, recipe_toml


def history(folder: Path, recipe: Path, out: Path, workers: int) -> list[dict[str, float]]:
    """Train in a process of its own, on as many cores as workers; give its epochs."""
    command = [sys.executable, "-c", "from happysad.cli import main; main()", "train", str(folder)]
    command += ["--recipe", str(recipe), "--out", str(out), "--workers", str(workers)]
    available = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, available[:workers])
    try:
        done = subprocess.run(command, stdout=subprocess.DEVNULL)
    finally:
        os.sched_setaffinity(0, available)
    # 1: some images of the folder were left out.
    if done.returncode not in (0, 1):
        raise SystemExit(done.returncode)
    header, *rows = (line.split(",") for line in (out / "history.csv").read_text().splitlines())
    return [dict(zip(header, map(float, row), strict=True)) for row in rows]


def main() -> None:
    """Train twice and print both."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path, help="with happy/ and sad/")
    arguments.add_argument("weights", help="of MobileNetV2 without its top, or none")
    arguments.add_argument("--images", type=int, default=1600)
    arguments.add_argument("--epochs", type=int, default=4)
    options = arguments.parse_args()
    recipe = read_recipe("fine-tune")
    head, rest = recipe.stages
    stages = (head, replace(rest, epochs=options.epochs))
    recipe = replace(recipe, weights=options.weights, stages=stages)
    print(
        f"{options.images} images, a fifth for validation, {options.epochs} epochs of "
        f"{rest.layers}, seed {recipe.seed}"
    )
    print(f"{'workers':<9}{'images/s':>10}{'seconds an epoch':>18}{'val loss':>10}{'val acc.':>10}")
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "recipe.toml"
        file.write_text(recipe_toml(recipe))
        some = Path(name) / "faces"
        for label in ("happy", "sad"):
            (some / label).mkdir(parents=True)
            for image in sorted((options.folder / label).iterdir())[: options.images // 2]:
                (some / label / image.name).symlink_to(image.resolve())
        for workers in (1, 2):
            rows = history(some, file, Path(name) / str(workers), workers)
            # The first epoch of a stage waits for TensorFlow to make its graph.
            timed = [row for row in rows if row["stage"] == 2][1:]
            speed = statistics.median(row["images_per_second"] for row in timed)
            seconds = statistics.median(row["seconds"] for row in timed)
            last = rows[-1]
            print(
                f"{workers:<9}{speed:>10.1f}{seconds:>18.1f}"
                f"{last['val_loss']:>10.4f}{last['val_accuracy']:>10.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
