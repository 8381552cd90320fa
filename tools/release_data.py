"""Lay out FER2013 and its votes for the release; training holds nothing of the test set.

    python tools/release_data.py FER2013 OUT

FER2013 holds `training/{happy,sad}/`, `public_test/{happy,sad}/`, `other_training.parquet` and
`other_public_test.parquet` (image and label), and `ferplus_votes.csv`: part, fer2013_label, file
and a column of counts per answer (Barsoum et al. 2016, FER+). OUT gets `training/` and `test/`,
each with `happy/`, `sad/`, `other/<emotion>/` and `votes.csv`. Training images that are near
duplicates of test images, or without a majority of votes for an expression, are left out of
`training/` and listed in `left-out.csv`. Files whose name stands on two rows of votes count as
having none: which row is theirs is unknown.
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
from happysad.dataset.votes import VOTES_FILE
from happysad.files import atomic, atomic_folder

ANSWERS = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"
)  # fmt: skip


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
    votes = _read_votes(source / "ferplus_votes.csv")
    left_out = _write_votes(votes, out)
    training = load(out / "training", 32, others=True)
    test = load(out / "test", 32, others=True)
    pairs = near_duplicates(np.concatenate([training.thumbnails, test.thumbnails]))
    first = len(training.samples)
    crossing = pairs[(pairs < first).any(axis=1) & (pairs >= first).any(axis=1)]
    # Hashed here: loading leaves out files that have two labels.
    known = {sha256(file.read_bytes()).hexdigest() for file in (out / "test").rglob("*.*")}
    leaked = {int(i) for i in crossing.min(axis=1)} | {
        i for i, digest in enumerate(training.sha256) if digest in known
    }
    with atomic(out / "left-out.csv") as path, path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "reason"])
        writer.writerows((path, "votes") for path in left_out)
        for index in sorted(leaked):
            sample = training.samples[index].path
            writer.writerow([sample.relative_to(out).as_posix(), "test set"])
            sample.unlink()
    _write_votes(votes, out)
    print(f"left out of training: {len(leaked)} in the test set, {len(left_out)} without votes")


Votes = dict[tuple[str, str, str], dict[str, str]]


def _read_votes(table: Path) -> Votes:
    """Read FER+'s table: (part, FER2013's label, file) → row; empty where a key occurs twice."""
    votes: Votes = {}
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = row["part"], row["fer2013_label"], row["file"]
            votes[key] = {} if key in votes else row
    return votes


def _write_votes(votes: Votes, out: Path) -> list[str]:
    """Write votes.csv for both sides; remove training images without votes and return them."""
    left_out = []
    for part, side in (("training", "training"), ("public_test", "test")):
        with (out / side / VOTES_FILE).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", *ANSWERS])
            for path in sorted((out / side).rglob("*.jpg")):
                counts = votes.get((part, path.parent.name, path.name), {})
                # Cells are empty where the image is not in FER+.
                said = [float(counts.get(name) or 0) for name in ANSWERS]
                nothing = sum(float(counts.get(name) or 0) for name in ("unknown", "NF"))
                if sum(said) > nothing:
                    writer.writerow([path.relative_to(out / side).as_posix(), *said])
                elif side == "training":
                    left_out.append(path.relative_to(out).as_posix())
                    path.unlink()
    return left_out


def main() -> None:
    """Lay out and report."""
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    if out.exists():
        sys.exit(f"{out} exists: remove it, or give another folder")
    lay_out(source, out)


if __name__ == "__main__":
    main()
