"""Mutated files and requests for every reader of untrusted input.

    python tests/fuzz/fuzzing.py --inputs 100000

Each input is made from a valid file by a few random damages, and identified by its number: the same
numbers are the same inputs. A process of its own reads them and is watched from outside. A failure
is an end of that process, an exception that is not happysad's own, an answer of 500, more than two
seconds of CPU, more than 500 MB of memory, or a minute without an answer. Such inputs are kept.
"""

import argparse
import json
import mmap
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import seeds

from happysad.errors import HappysadError
from happysad.released import FOLDER, MODEL

Reader = Callable[[bytes], None]

SECONDS, MEGABYTES, SILENCE = 2.0, 500, 60.0
EXTREMES = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**32 - 1)


def mutated(originals: list[bytes], rng: np.random.Generator) -> bytes:
    """Take one of the files and damage it, once to eight times."""
    content = bytearray(originals[rng.integers(len(originals))])
    for _ in range(int(2 ** rng.uniform(0, 3))):
        if not content:
            break
        at = int(rng.integers(len(content)))
        # Damage to headers is the most effective.
        if rng.random() < 0.5:
            at = min(at, int(rng.integers(256)))
        length = int(2 ** rng.uniform(0, 10))
        match int(rng.integers(8)):
            case 0:
                content[at] ^= 1 << int(rng.integers(8))
            case 1:
                content[at : at + length] = rng.bytes(len(content[at : at + length]))
            case 2:
                value = EXTREMES[rng.integers(len(EXTREMES))]
                form = str(rng.choice(["<I", ">I", "<H", ">H"]))
                packed = struct.pack(form, value & (2 ** (8 * struct.calcsize(form)) - 1))
                content[at : at + len(packed)] = packed
            case 3:
                del content[at : at + length]
            case 4:
                content[at:at] = content[at : at + length] * int(rng.integers(1, 5))
            case 5:
                other = originals[rng.integers(len(originals))]
                there = int(rng.integers(len(other)))
                content[at : at + length] = other[there : there + length]
            case 6:
                del content[at:]
            case _:
                # In text: replace a number or a word.
                word = (b"-1", b"1e999", b"nan", b"\xff", b"\0", b"\xe2\x80\xae", b"'\"[{,\n")
                content[at : at + 1] = word[rng.integers(len(word))]
    return bytes(content)


@contextmanager
def image() -> Iterator[Reader]:
    """Images."""
    from happysad.image import open_image

    def read(content: bytes) -> None:
        open_image(content).pixels(100 if len(content) % 2 else None)

    yield read


@contextmanager
def model() -> Iterator[Reader]:
    """Model files: the bundled one with another beginning or end."""
    from happysad.classifier import Classifier

    whole = (FOLDER / MODEL).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")

        def read(content: bytes) -> None:
            begins = content[4:8] == b"TFL3"
            path.write_bytes(content + whole[4096:] if begins else whole[:-8192] + content)
            classifier = Classifier(path)
            size = classifier.info.input_size
            classifier.label(classifier.probabilities(np.zeros((1, size, size, 3), np.uint8))[0])

        yield read


@contextmanager
def recipe() -> Iterator[Reader]:
    """Recipes."""
    from happysad.training.recipe import read_recipe, recipe_toml

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recipe.toml")

        def read(content: bytes) -> None:
            path.write_bytes(content)
            recipe_toml(read_recipe(str(path)))

        yield read


@contextmanager
def table() -> Iterator[Reader]:
    """Tables to import a dataset from."""
    from happysad.dataset.importers import import_dataset

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "table")
        for name in ("happy", "sad"):
            Path(folder, f"{name}.png").write_bytes(seeds.images()[5])
        numbers = iter(range(10**9))

        def read(content: bytes) -> None:
            source.write_bytes(content)
            import_dataset(source, Path(folder, str(next(numbers))))

        yield read


@contextmanager
def groups() -> Iterator[Reader]:
    """A dataset's groups.csv."""
    from happysad.dataset.scan import scan

    with tempfile.TemporaryDirectory() as folder:
        for name in ("happy/a.png", "sad/b.png"):
            Path(folder, name).parent.mkdir()
            Path(folder, name).write_bytes(b"")

        def read(content: bytes) -> None:
            Path(folder, "groups.csv").write_bytes(content)
            scan(Path(folder))

        yield read


@contextmanager
def body() -> Iterator[Reader]:
    """Bodies of HTTP requests."""
    from starlette.testclient import TestClient

    from happysad.serving.app import create_app
    from happysad.serving.settings import Settings

    Settings().to_environment()
    with TestClient(create_app(), raise_server_exceptions=False) as client:

        def read(content: bytes) -> None:
            form = content.startswith(b"--")
            kind = "multipart/form-data; boundary=frontier" if form else "image/jpeg"
            crop = "whole" if len(content) % 4 else "face"
            url = f"/v1/predict?crop={crop}"
            response = client.post(url, content=content, headers={"content-type": kind})
            if response.status_code not in (200, 400, 413, 422):
                raise RuntimeError(f"{response.status_code}: {response.text}")

        yield read


# Reader, files that are mutated for it, and its share of all inputs.
TARGETS = {
    "image": (image, seeds.images, 0.6),
    "model": (model, seeds.models, 0.05),
    "recipe": (recipe, seeds.recipes, 0.1),
    "table": (table, seeds.tables, 0.1),
    "groups": (groups, seeds.groups, 0.05),
    "body": (body, seeds.bodies, 0.1),
}


@dataclass(frozen=True)
class Failure:
    """An input that caused anything but an error of happysad."""

    target: str
    number: int
    what: str


def work(target: str, start: int, stop: int, progress: Path, seed: int) -> None:
    """Read a stretch of inputs in this process; failures and counts are printed as JSON lines."""
    reader, make_seeds, _ = TARGETS[target]
    originals = make_seeds()
    with progress.open("r+b") as file, reader() as read:
        at = mmap.mmap(file.fileno(), 8)
        outcomes: Counter[str] = Counter()
        most = 0
        for number in range(start, stop):
            at[:] = struct.pack("<q", number)
            content = mutated(originals, np.random.default_rng((seed, number)))
            begin, what = time.process_time(), None
            try:
                read(content)
                outcomes["accepted"] += 1
            except HappysadError as error:
                outcomes["refused"] += 1
                if "\n" in str(error):
                    what = f"an error of several lines: {error}"
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
            seconds, peak = time.process_time() - begin, memory()
            most = max(most, peak)
            if seconds > SECONDS:
                what = f"{seconds:.1f} s of CPU"
            if peak > MEGABYTES:
                what = f"{peak} MB"
                Path("/proc/self/clear_refs").write_text("5")
            if what:
                print(json.dumps({"number": number, "what": what}), flush=True)
        print(json.dumps({"outcomes": outcomes, "megabytes": most}), flush=True)


def memory(name: str = "VmHWM") -> int:
    """Megabytes of this process: the most since clear_refs was written to, or ``"VmRSS"``, now."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) // 1000


def fuzz(target: str, inputs: int, keep: Path, seed: int = 0) -> tuple[list[Failure], Counter[str]]:
    """Let a process read so many inputs, and another go on where one ends before its time.

    Returns:
        The failures, whose inputs lie in ``keep``, and how often what came out; ``megabytes`` is
        the most memory that a process ever had.
    """
    failures: list[Failure] = []
    total: Counter[str] = Counter()
    keep.mkdir(parents=True, exist_ok=True)
    progress = keep / f"{target}.progress"
    start = 0
    while start < inputs:
        progress.write_bytes(struct.pack("<q", start))
        command = [sys.executable, __file__, "--target", target, "--start", str(start)]
        command += ["--stop", str(inputs), "--seed", str(seed), "--progress", str(progress)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            silent = _watch(process, progress)
            printed = process.stdout.read() if process.stdout else b""
        for line in map(json.loads, printed.splitlines()):
            if "number" in line:
                failures.append(Failure(target, **line))
            else:
                total.update(line["outcomes"])
                total["megabytes"] = max(total["megabytes"], line["megabytes"])
        if process.returncode == 0:
            break
        (reached,) = struct.unpack("<q", progress.read_bytes())
        what = "no answer" if silent else f"the process ended with {process.returncode}"
        failures.append(Failure(target, reached, what))
        start = reached + 1
    progress.unlink()
    for failure in failures:
        content = mutated(TARGETS[target][1](), np.random.default_rng((seed, failure.number)))
        (keep / f"{target}-{failure.number}").write_bytes(content)
    return failures, total


def _watch(process: subprocess.Popen[bytes], progress: Path) -> bool:
    """Wait for a process; kill it if it stays at one input, and return whether it did."""
    before, since = b"", time.monotonic()
    while process.poll() is None:
        if (now := progress.read_bytes()) != before:
            before, since = now, time.monotonic()
        elif time.monotonic() - since > SILENCE:
            process.kill()
            return True
        time.sleep(0.1)
    return False


def main() -> None:
    """Fuzz every target, or be the process that reads."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--inputs", type=int, default=100_000, help="of all targets together")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="for failures")
    arguments.add_argument("--target", choices=TARGETS, help="this one alone")
    for name in ("--start", "--stop"):
        arguments.add_argument(name, type=int, help=argparse.SUPPRESS)
    arguments.add_argument("--progress", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.progress:
        work(options.target, options.start, options.stop, options.progress, options.seed)
        return
    bad = 0
    print("| what is read | inputs | accepted | refused | failures | most memory | time |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for target in [options.target] if options.target else TARGETS:
        inputs, begin = round(options.inputs * TARGETS[target][2]), time.monotonic()
        failures, total = fuzz(target, inputs, options.keep, options.seed)
        print(
            f"| {target} | {inputs:,} | {total['accepted']:,} | {total['refused']:,} | "
            f"{len(failures)} | {total['megabytes']} MB | {time.monotonic() - begin:.0f} s |",
            flush=True,
        )
        for failure in failures:
            print(f"{target} {failure.number}: {failure.what}", file=sys.stderr)
        bad += len(failures)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
