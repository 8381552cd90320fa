"""Kill happysad at random times, and fill its disk: is anything lost or half written?

python benchmarks/crashes.py [--kills 20] [--seed 0] [--only export score]

Each command runs once undisturbed. Then it is sent SIGKILL at instants drawn uniformly over the
time that this took, once or several times in a row, and run again to its end (with --resume, where
there is one): is the result the same? After each kill, every file that does not bear a temporary
name must be the old one or the new one, whole. For the second table the commands run on a disk
that is too small: a tmpfs, which only root may mount. Linux only; some 20 minutes on one core.
"""

import argparse
import csv
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from memory import make_images, make_video
from PIL import Image

from happysad.dataset.synthetic import make_dataset
from happysad.plots import plot
from happysad.released import MODEL, read_released
from happysad.video.outputs import video_writer

RECIPE = """
name = "crashes"
input_size = 32
weights = "none"
dense = [8]
batch_size = 16

[[stages]]
layers = "head"
epochs = 3
learning_rate = 0.001

[[stages]]
layers = "block_16"
epochs = 3
learning_rate = 0.001
averaging = 0.9
"""
# They differ from one undisturbed run to the next.
VARYING = {
    *("command", "images_per_second", "milliseconds", "seconds", "started", "worker_seconds"),
    *("date_saved", "shared_object_id"),  # Of Keras.
}
OLD = b"what an earlier run left"
Contents = dict[str, object]


@dataclass(frozen=True)
class Case:
    """A command to disturb. It runs in a folder of its own, and its outputs are relative to that.

    Attributes:
        name: What it does.
        command: The arguments of `happysad`.
        room: Bytes of a disk on which it cannot be done; several, to fail in several places.
        again: More of them, for going on after a kill.
        old: Files that an earlier run left, and a new one is to replace.
        start: A finished run that is there as ``run``.
        changing: Names of files that are replaced while the command runs: whole, but not yet final.
        scratch: Names of files that count for nothing until the command has gone on.
        at_once: All files appear in one step.
        kills: How often it is killed before it may come to its end.
    """

    name: str
    command: tuple[str, ...]
    room: tuple[int, ...]
    again: tuple[str, ...] = ()
    old: tuple[str, ...] = ()
    start: Path | None = None
    changing: tuple[str, ...] = ()
    scratch: tuple[str, ...] = ()
    at_once: bool = False
    kills: int = 1

    def begin(self, home: Path) -> Path:
        """Fill the folder it runs in."""
        if self.start:
            shutil.copytree(self.start, home / "run")
        for name in self.old:
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            write_earlier(home / name)
        home.mkdir(exist_ok=True)
        return home


def write_earlier(path: Path) -> None:
    """Write what an earlier run may have left; of videos and plots, only such are replaced."""
    if path.suffix == ".mp4":
        with video_writer(path, (16, 16), 10.0) as write:
            write(np.zeros((16, 16, 3), np.uint8), 0.0)
    elif path.suffix == ".png":
        with plot(path):
            pass
    else:
        path.write_bytes(OLD)


@dataclass
class Found:
    """Outcome of many kills."""

    kills: int = 0
    ends: int = 0
    same: int = 0
    half: int = 0
    leftovers: int = 0
    last: int = 0


def train_case(faces: Path, recipe: Path) -> Case:
    """Train from random weights: two stages of three epochs."""
    return Case(
        "train",
        ("train", str(faces), "--recipe", str(recipe), "--out", "run"),
        (300_000, 5_000_000),
        ("--resume",),
        changing=("history.csv", "curves.png", "environment.json", "checkpoint.npz"),
        scratch=("crops.npy",),
        kills=4,
    )


def export_case(run: Path) -> Case:
    """Export a run's folder again, over an earlier file."""
    old = ("run/model-int8.tflite", "run/export.json")
    command = ("export", "run", "--precision", "int8")
    return Case("export", command, (1_000_000,), old=old, start=run, kills=4)


def evaluate_case(model: Path, faces: Path) -> Case:
    """Evaluate a model again, over an earlier report."""
    names = ("metrics.json", "predictions.csv", "roc.png", "report.html")
    command = ("evaluate", str(model), str(faces), "--out", "report")
    return Case("evaluate", command, (100_000,), old=tuple(f"report/{n}" for n in names), kills=4)


def score_case(images: Path) -> Case:
    """Score images on Ray."""
    command = ("score", str(images), "--out", "scores", "--workers", "1", "--chunk-size", "5")
    # The list counts only with _job.json, which is written after it.
    return Case("score", command, (20_000,), ("--resume",), scratch=("_inputs.jsonl.gz",), kills=2)


def video_case(video: Path) -> Case:
    """Draw boxes into a video, over an earlier one."""
    command = ("predict", str(video), "--annotate", "boxes.mp4", "--plot", "talk.png")
    return Case("predict a video", command, (100_000,), old=("boxes.mp4", "talk.png"), kills=2)


def import_case(table: Path) -> Case:
    """Import a list of images."""
    command = ("dataset", "import", str(table), "--out", "faces")
    return Case("dataset import", command, (500_000,), at_once=True)


def draw_case() -> Case:
    """Draw a dataset."""
    command = ("dataset", "draw", "--count", "60", "--out", "faces")
    return Case("dataset draw", command, (500_000,), at_once=True)


def start(case: Case, home: Path, more: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
    """Run its command."""
    # Not a pipe: processes that outlive a killed command would keep it open.
    with (home.parent / f"{home.name}.log").open("w") as log:
        command = [sys.executable, "-m", "happysad", *case.command, *more]
        return subprocess.Popen(command, cwd=home, stdout=subprocess.DEVNULL, stderr=log, text=True)


def finish(case: Case, home: Path, more: tuple[str, ...] = ()) -> None:
    """Run its command to the end."""
    if start(case, home, more).wait():
        raise RuntimeError(f"{case.name} failed: {errors(home)}")


def errors(home: Path) -> list[str]:
    """Return the last command's standard error, without LiteRT's log line."""
    lines = (home.parent / f"{home.name}.log").read_text("utf-8").splitlines()
    return [line for line in lines if not line.startswith("INFO: ")]


def undisturbed(case: Case, folder: Path) -> tuple[Contents, float]:
    """Run it whole: what it comes to, and in how many seconds."""
    home = case.begin(folder / "whole")
    begun = time.perf_counter()
    finish(case, home)
    return contents(case, home), time.perf_counter() - begun


def crash(
    case: Case, whole: Contents, seconds: float, kills: int, rng: np.random.Generator, folder: Path
) -> Found:
    """Kill it several times, let it finish in between, and compare."""
    found = Found()
    while found.kills < kills:
        home = case.begin(folder / f"killed-{found.ends}")
        old, before = contents(case, home), found.kills
        more: tuple[str, ...] = ()
        for _ in range(min(case.kills, kills - found.kills)):
            process = start(case, home, more)
            try:
                process.wait(rng.uniform(0, seconds))
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            found.kills += 1
            if half := half_written(case, home, old, whole):
                print(f"{case.name}: half-written: {', '.join(half)}", file=sys.stderr)
            found.half += len(half)
            found.leftovers += len(leftovers(home))
            more = case.again
        if found.kills > before:
            if contents(case, home) != whole:
                finish(case, home, more)
            found.ends += 1
            found.same += contents(case, home) == whole
            found.last += len(leftovers(home))
        shutil.rmtree(home)
    return found


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system in memory; see `resize`.

    Raises:
        subprocess.CalledProcessError: Only root may.
    """
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield folder
    finally:
        # Lazily: Ray's processes may still be ending there.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def resize(disk: Path, room: int) -> None:
    """Leave so many bytes free."""
    size = shutil.disk_usage(disk).used + room
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def fill(case: Case, room: int, home: Path) -> tuple[int, list[str]]:
    """Run it on a disk, see `small_disk`, with too little room: its status and errors."""
    resize(home, room)
    status = start(case, home).wait()
    return status, errors(home)


def leftovers(home: Path) -> list[str]:
    """Files and folders with temporary names."""
    return [path.name for path in home.rglob(".*") if ".partial" in path.name]


def contents(case: Case, home: Path) -> Contents:
    """What all files say that have their final names; None for one that is not whole."""
    found: Contents = {}
    for path in home.rglob("*"):
        name = path.relative_to(home)
        if path.is_file() and path.name not in case.scratch and ".partial" not in str(name):
            try:
                found[str(name)] = content(path)
            except (OSError, ValueError, EOFError, zipfile.BadZipFile):
                found[str(name)] = None
    return found


def content(path: Path) -> object:
    """What a file says, see `steady`; fails where it is not whole."""
    data = path.read_bytes()
    if data == OLD:
        return data
    if path.suffix == ".json":
        return steady(json.loads(data))
    if path.suffix == ".csv":
        if not data.endswith(b"\n"):
            raise ValueError("the last line is cut")
        return steady(list(csv.DictReader(io.StringIO(data.decode()))))
    if path.suffix in (".keras", ".npz"):
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        return {
            name: steady(json.loads(part)) if name.endswith(".json") else part
            for name, part in parts.items()
        }
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".png":
        with Image.open(path) as image:
            return image.tobytes()
    return data


def steady(value: Any) -> object:
    """Return a copy without what differs from run to run."""
    if isinstance(value, dict):
        return {name: steady(inner) for name, inner in value.items() if name not in VARYING}
    return [steady(inner) for inner in value] if isinstance(value, list) else value


def half_written(case: Case, home: Path, old: Contents, whole: Contents) -> list[str]:
    """Files that are neither the old nor the new one."""
    found = contents(case, home)
    if case.at_once and found:
        return [name for name in whole if found.get(name) != whole[name]]
    return [
        name
        for name, now in found.items()
        if now is None
        or (Path(name).name not in case.changing and now not in (old.get(name), whole.get(name)))
    ]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+")
    arguments = parser.parse_args()
    rng, full = np.random.default_rng(arguments.seed), []
    print("| | undisturbed | kills | ended the same | half-written | leftovers, at the end |")
    print("| --- " * 6 + "|")
    with tempfile.TemporaryDirectory() as name:
        for case in cases(Path(name)):
            if arguments.only and case.command[0] not in arguments.only:
                continue
            folder = Path(name, case.name)
            folder.mkdir()
            whole, seconds = undisturbed(case, folder)
            found = crash(case, whole, seconds, arguments.kills, rng, folder)
            print(
                f"| {case.name} | {seconds:.1f} s | {found.kills} | {found.same} of {found.ends} "
                f"| {found.half} | {found.leftovers}, {found.last} |",
                flush=True,
            )
            full += [full_row(case, room, whole, folder / f"disk-{room}") for room in case.room]
    print("\n| | room | status | error | half-written | leftovers | then, with room |")
    print("| --- " * 7 + "|")
    print("\n".join(full))


def full_row(case: Case, room: int, whole: Contents, folder: Path) -> str:
    """Fill its disk, look, make room, and run it again."""
    with small_disk(folder) as home:
        old = contents(case, case.begin(home))
        status, lines = fill(case, room, home)
        half, left = half_written(case, home, old, whole), leftovers(home)
        resize(home, 1 << 30)
        finish(case, home, case.again)
        then = "the same" if contents(case, home) == whole else "not the same"
    said = "; ".join(lines).replace(f"{home}/", "")
    return (
        f"| {case.name} | {room / 1e6:g} MB | {status} | `{said}` | {len(half)} | {len(left)} "
        f"| {then} |"
    )


def cases(folder: Path) -> Iterator[Case]:
    """Make small inputs, and the commands on them."""
    faces, images, recipe = folder / "drawn", folder / "images", folder / "recipe.toml"
    make_dataset(faces, 60, size=64)
    recipe.write_text(RECIPE)
    train = train_case(faces, recipe)
    yield train
    finish(train, train.begin(folder / "trained"))
    yield export_case(folder / "trained" / "run")
    model = folder / "model.tflite"
    model.write_bytes(read_released(MODEL))
    yield evaluate_case(model, faces)
    images.mkdir()
    make_images(images, 60)
    yield score_case(images)
    make_video(folder / "film.mp4", 50)
    yield video_case(folder / "film.mp4")
    yield import_case(write_list(faces, folder / "list.csv", 10))
    yield draw_case()


def write_list(faces: Path, table: Path, times: int) -> Path:
    """List a dataset's images in a CSV file, each several times."""
    lines = [f"{path},{path.parent.name}" for path in sorted(faces.rglob("*.png"))]
    table.write_text("\n".join(["path,label", *lines * times]) + "\n")
    return table


if __name__ == "__main__":
    main()
