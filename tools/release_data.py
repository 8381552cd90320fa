"""Lay out FER2013 for the release: all emotions for training, nothing that is in a test set.

    python tools/release_data.py FER2013 OUT

FER2013 holds `training/{happy,sad}/`, `public_test/{happy,sad}/` and, as Parquet files with image
and label, `other_training.parquet` and `other_public_test.parquet`. OUT gets `training/` and
`test/`, each with `happy/`, `sad/` and `other/<emotion>/`. Training images that also stand in the
test set, copied or nearly so, are left out of `training/` and listed in `left-out.csv`.
"""

import csv
import shutil
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np

from happysad.dataset.duplicates import near_duplicates
from happysad.dataset.importers import import_dataset
from happysad.dataset.load import load
from happysad.files import atomic, atomic_folder


def lay_out(source: Path, final: Path) -> None:
    """Make the folder; it is complete or not there."""
    with atomic_folder(final) as out:
        _fill(source, out)


def _fill(source: Path, out: Path) -> None:
    for part, side in (("training", "training"), ("public_test", "test")):
        imported = import_dataset(
            source / f"other_{part}.parquet", out / f"{side}.partial", others=True
        )
        (out / side).mkdir()
        (out / f"{side}.partial/training/other").rename(out / side / "other")
        shutil.rmtree(out / f"{side}.partial")
        for label in ("happy", "sad"):
            shutil.copytree(source / part / label, out / side / label)
        print(side, dict(imported.counts))
    training = load(out / "training", 32, others=True)
    test = load(out / "test", 32, others=True)
    pairs = near_duplicates(np.concatenate([training.thumbnails, test.thumbnails]))
    first = len(training.samples)
    crossing = pairs[(pairs < first).any(axis=1) & (pairs >= first).any(axis=1)]
    # Read anew: loading leaves out files that stand under two labels.
    known = {sha256(file.read_bytes()).hexdigest() for file in (out / "test").rglob("*.*")}
    leaked = {int(i) for i in crossing.min(axis=1)} | {
        i for i, digest in enumerate(training.sha256) if digest in known
    }
    with atomic(out / "left-out.csv") as path, path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path"])
        for index in sorted(leaked):
            sample = training.samples[index].path
            writer.writerow([sample.relative_to(out).as_posix()])
            sample.unlink()
    print(f"{len(leaked)} training images left out that also stand in the test set")


def main() -> None:
    """Lay out and report."""
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    if out.exists():
        sys.exit(f"{out} exists: remove it, or give another folder")
    lay_out(source, out)


if __name__ == "__main__":
    main()
