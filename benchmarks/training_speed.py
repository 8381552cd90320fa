"""Training speed: happysad's `seed` recipe against a usual Keras program.

The usual way, as tutorials have it: `ImageDataGenerator` reads, scales and varies the files in
Python, and `model.fit` runs a frozen MobileNetV2 under a dense head at 224 pixels. Both do the
same work: the same files, network, augmentation and optimizer; the second epoch counts.

python benchmarks/training_speed.py [--data FOLDER] [--images 640]
"""

import argparse
import os
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from happysad.dataset.load import load
from happysad.dataset.synthetic import make_dataset
from happysad.training.batches import batches
from happysad.training.recipe import Recipe, read_recipe
from happysad.training.train import train


def usual(folder: Path, recipe: Recipe) -> tuple[float, float]:
    """Images per second of the generator alone and of training."""
    import tensorflow as tf

    how, size = recipe.augmentation, recipe.input_size
    flow = tf.keras.preprocessing.image.ImageDataGenerator(
        rotation_range=how.rotation,
        zoom_range=how.zoom,
        horizontal_flip=True,
        preprocessing_function=lambda x: x / 127.5 - 1,
    ).flow_from_directory(
        str(folder), target_size=(size, size), batch_size=recipe.batch_size, class_mode="binary"
    )
    start = time.perf_counter()
    for i in range(len(flow)):
        flow[i]
    alone = flow.samples / (time.perf_counter() - start)

    backbone = keras.applications.MobileNetV2(
        input_shape=(size, size, 3), include_top=False, weights=None
    )
    backbone.trainable = False
    model = keras.Sequential(
        [
            backbone,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(0.01), loss="binary_crossentropy", metrics=["accuracy"]
    )
    model.fit(flow, epochs=1, verbose=0)
    start = time.perf_counter()
    model.fit(flow, epochs=1, verbose=0)
    return alone, flow.samples / (time.perf_counter() - start)


def ours(folder: Path, recipe: Recipe, out: Path) -> tuple[float, float]:
    """Images per second of the input pipeline alone and of training."""
    dataset = load(folder, recipe.input_size)
    start = time.perf_counter()
    for _ in batches(
        dataset.crops,
        np.arange(len(dataset.crops)),
        batch_size=recipe.batch_size,
        augmentation=recipe.augmentation,
        seed=0,
        epoch=1,
    ):
        pass
    alone = len(dataset.crops) / (time.perf_counter() - start)
    speeds: list[float] = []
    train(folder, recipe, out, on_epoch=lambda row: speeds.append(row.images_per_second))
    return alone, speeds[-1]


def fine_tune(folder: Path, out: Path) -> tuple[float, float]:
    """Images per second of the `fine-tune` recipe's pipeline and of its second stage."""
    recipe = read_recipe("fine-tune")
    stage = replace(recipe.stages[1], epochs=2)
    return ours(folder, replace(recipe, weights="none", stages=(stage,)), out)


def main() -> None:
    """Measure both, one after the other, twice, and print the better figures and their ratio."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, help="folder with happy/ and sad/; else drawn")
    arguments.add_argument("--images", type=int, default=640)
    options = arguments.parse_args()
    recipe = read_recipe("seed")
    recipe = replace(recipe, weights="none", stages=(replace(recipe.stages[0], epochs=2),))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "faces"
        if options.data:
            for label in ("happy", "sad"):
                (folder / label).mkdir(parents=True)
                for file in sorted((options.data / label).iterdir())[: options.images // 2]:
                    shutil.copy(file, folder / label)
        else:
            make_dataset(folder, options.images)
        theirs, mine = [], []
        for attempt in range(2):
            theirs.append(usual(folder, recipe))
            mine.append(ours(folder, recipe, Path(name) / f"run{attempt}"))
        own = fine_tune(folder, Path(name) / "fine-tune")
    print(f"{'images/s at 224 pixels':<28}{'usual':>10}{'happysad':>10}{'ratio':>8}")
    for row, what in enumerate(("input pipeline alone", "training (seed recipe)")):
        a, b = max(t[row] for t in theirs), max(m[row] for m in mine)
        print(f"{what:<28}{a:>10.1f}{b:>10.1f}{b / a:>8.1f}")
    print(f"fine-tune at 96 pixels: pipeline alone {own[0]:.0f} images/s, training {own[1]:.0f}")


if __name__ == "__main__":
    main()
