"""Face detection: recall, false detections and time on a mixed set of images.

    python benchmarks/detection.py shared/data/portraits [--photos FOLDER] [--against SRC]
        [--haar] [--mediapipe PYTHON]

Scenes are composed of portraits (one face each) pasted into images without people: one face,
groups, small faces, tilted faces, none. With --photos, a folder of photographs with a face each is
run, too: "found" are then images with a detection. Others take turns with this detector:

- --against: of another version of happysad, by its ``src`` folder;
- --haar: OpenCV's cascade with the settings of fer 25.10;
- --mediapipe: MediaPipe's short- and full-range detectors, by an interpreter with mediapipe
  0.10.21, the last one with the models inside.

One thread each. The image is decoded before the clock starts; this detector decodes one of more
than 640 pixels again where it searches at a larger scale, and that time counts.
"""

import argparse
import io
import os
import pickle
import random
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_images

from happysad.image import RgbImage, read_image

# scikit-image's images without people.
GROUNDS: Final = (
    "coffee",
    "chelsea",
    "rocket",
    "coins",
    "brick",
    "grass",
    "gravel",
    "page",
    "moon",
)
SIZE: Final = (640, 480)

# Each defines open_image(content), which is not timed, and detect(image), which returns boxes.
HAPPYSAD: Final = """
import happysad.faces
import happysad.image
try:
    import cv2
    cv2.setNumThreads(1)
except ImportError:
    pass
detector = happysad.faces.FaceDetector()
def open_image(content):
    image = happysad.image.open_image(content)
    image.pixels(640)
    return image
def detect(image):
    return [face.box for face in detector.detect(image)]
"""
HAAR: Final = """
import cv2
import numpy as np
cv2.setNumThreads(1)
cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
def open_image(content):
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
def detect(image):
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return [
        tuple(map(float, box))
        for box in cascade.detectMultiScale(
            grey, scaleFactor=1.1, minNeighbors=5, flags=cv2.CASCADE_SCALE_IMAGE, minSize=(50, 50)
        )
    ]
"""
MEDIAPIPE: Final = """
import io
import numpy as np
from PIL import Image
from mediapipe.python.solutions.face_detection import FaceDetection
detector = FaceDetection(model_selection={model}, min_detection_confidence=0.5)
def open_image(content):
    return np.array(Image.open(io.BytesIO(content)).convert("RGB"))
def detect(image):
    height, width = image.shape[:2]
    found = detector.process(image).detections or ()
    boxes = [face.location_data.relative_bounding_box for face in found]
    return [(b.xmin * width, b.ymin * height, b.width * width, b.height * height) for b in boxes]
"""
LOOP: Final = """
import pickle, sys, time
while True:
    content = pickle.load(sys.stdin.buffer)
    times = []
    for _ in range(2):
        image = open_image(content)
        start = time.perf_counter()
        boxes = detect(image)
        times.append(time.perf_counter() - start)
    pickle.dump((min(times), boxes), sys.stdout.buffer)
    sys.stdout.buffer.flush()
"""

Box = tuple[float, float, float, float]


@dataclass
class Scene:
    """An encoded image and the squares (left, top, side) of its portraits; None if unknown."""

    content: bytes
    faces: list[tuple[int, int, int]] | None


@dataclass
class Totals:
    """Counts and seconds of one detector on one kind of scene."""

    found: int = 0
    false: int = 0
    seconds: list[float] = field(default_factory=list)


class Composer:
    """Composes scenes, the same ones for the same seed."""

    def __init__(self, portraits: list[Path], seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311
        self._portraits = portraits
        self._grounds = [*load_sample_images().images]
        self._grounds += [read_image(np.atleast_3d(getattr(data, name)())) for name in GROUNDS]

    def ground(self) -> RgbImage:
        """Return a random part of an image without people, of `SIZE`."""
        image = Image.fromarray(self._random.choice(self._grounds))
        share = self._random.uniform(0.5, 1)
        width, height = int(image.width * share), int(image.height * share)
        left = self._random.randint(0, image.width - width)
        top = self._random.randint(0, image.height - height)
        return np.array(image.resize(SIZE, box=(left, top, left + width, top + height)))

    def scene(self, count: int, sides: tuple[int, int], degrees: float = 0) -> Scene:
        """Paste portraits of some sides without overlaps."""
        image, faces = Image.fromarray(self.ground()), list[tuple[int, int, int]]()
        for _ in range(100):
            side = self._random.randint(*sides)
            left, top = (self._random.randint(0, length - side) for length in SIZE)
            if len(faces) == count or any(
                abs(left + side / 2 - x - s / 2) < (side + s) / 2
                and abs(top + side / 2 - y - s / 2) < (side + s) / 2
                for x, y, s in faces
            ):
                continue
            angle = self._random.choice((-1, 1)) * degrees
            portrait = Image.open(self._random.choice(self._portraits)).convert("RGB")
            portrait = portrait.resize((side, side)).rotate(angle, Image.Resampling.BICUBIC)
            mask = Image.new("L", (side, side), 255).rotate(angle)
            image.paste(portrait, (left, top), mask)
            faces.append((left, top, side))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=90)
        return Scene(file.getvalue(), faces)

    def scenes(self, count: int) -> Iterator[tuple[str, list[Scene]]]:
        """Yield each kind's name and scenes."""
        pick = self._random.randint
        yield (
            "portrait",
            [Scene(path.read_bytes(), [(0, 0, 224)]) for path in self._portraits[:count]],
        )
        yield "one face", [self.scene(1, (90, 250)) for _ in range(count)]
        yield "group of 3 to 9", [self.scene(pick(3, 9), (40, 140)) for _ in range(count)]
        yield "small faces", [self.scene(pick(1, 5), (22, 50)) for _ in range(count)]
        yield "large and small", [self.scene(pick(2, 5), (25, 220)) for _ in range(count)]
        yield "tilted by 45°", [self.scene(1, (120, 300), 45) for _ in range(count)]
        yield "no face", [self.scene(0, (22, 50)) for _ in range(count)]


class Worker:
    """A detector in a process of its own."""

    def __init__(
        self, code: str, *, source: Path | None = None, python: str = sys.executable
    ) -> None:
        self._process = subprocess.Popen(
            [python, "-c", code + LOOP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(source or "")},
        )

    def detect(self, content: bytes) -> tuple[float, list[Box]]:
        """Return seconds and boxes."""
        stdin: Any = self._process.stdin
        stdout: Any = self._process.stdout
        pickle.dump(content, stdin)
        stdin.flush()
        answer: tuple[float, list[Box]] = pickle.load(stdout)  # noqa: S301
        return answer


def matches(box: Box, face: tuple[int, int, int]) -> bool:
    """Tell whether a box is that of a pasted portrait."""
    left, top, side = face
    aside = max(
        abs(box[0] + box[2] / 2 - left - side / 2), abs(box[1] + box[3] / 2 - top - side / 2)
    )
    return aside < 0.35 * side and 0.25 * side < max(box[2:]) < 1.6 * side


def count(boxes: list[Box], truth: list[tuple[int, int, int]], totals: Totals) -> None:
    """Count found faces and false detections."""
    hit = {face for face in truth if any(matches(box, face) for box in boxes)}
    totals.found += len(hit)
    totals.false += sum(not any(matches(box, face) for face in truth) for box in boxes)


def report(kind: str, scenes: list[Scene], workers: list[Worker]) -> None:
    """Run the detectors in turns; print a row of the table."""
    totals = [Totals() for _ in workers]
    faces = 0
    for number, scene in enumerate(scenes):
        for i in range(len(workers)):
            which = (number + i) % len(workers)
            seconds, boxes = workers[which].detect(scene.content)
            totals[which].seconds.append(seconds)
            if scene.faces is None:
                totals[which].found += bool(boxes)
                totals[which].false += max(0, len(boxes) - 1)
            else:
                count(boxes, scene.faces, totals[which])
        faces += 1 if scene.faces is None else len(scene.faces)
    cells = [kind, str(len(scenes)), str(faces)]
    for total in totals:
        times = [1000 * seconds for seconds in total.seconds]
        median, high = statistics.median(times), np.quantile(times, 0.9)
        cells.append(f"{total.found}, {total.false}, {median:.1f}, {high:.1f}")
    first = statistics.median(totals[0].seconds)
    cells += [f"{statistics.median(total.seconds) / first:.2f}" for total in totals[1:]]
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Read the command line, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--photos", type=Path, help="a folder of photographs with a face each")
    parser.add_argument("--against", type=Path, help="src folder of another version")
    parser.add_argument("--haar", action="store_true", help="OpenCV's cascade, as fer uses it")
    parser.add_argument("--mediapipe", help="an interpreter with mediapipe 0.10.21")
    parser.add_argument("--scenes", type=int, default=40, help="scenes of each kind")
    arguments = parser.parse_args()
    workers = {"happysad": Worker(HAPPYSAD, source=Path(__file__).parents[1] / "src")}
    if arguments.against:
        workers["other"] = Worker(HAPPYSAD, source=arguments.against)
    if arguments.haar:
        workers["Haar"] = Worker(HAAR)
    if arguments.mediapipe:
        for model, name in enumerate(("MediaPipe, short range", "MediaPipe, full range")):
            code = MEDIAPIPE.replace("{model}", str(model))
            workers[name] = Worker(code, python=arguments.mediapipe)
    ratios = [f"{name}: ratio" for name in list(workers)[1:]]
    titles = ["kind", "images", "faces", *workers, *ratios]
    print("Each: found, false, median and 90th percentile of the time in ms\n")
    print(f"| {' | '.join(titles)} |\n{'| --- ' * len(titles)}|")
    paths = sorted(arguments.portraits.rglob("*.jpg"))
    random.Random(0).shuffle(paths)  # noqa: S311
    for kind, scenes in Composer(paths, 0).scenes(arguments.scenes):
        report(kind, scenes, list(workers.values()))
    if arguments.photos:
        files = sorted(path for path in arguments.photos.iterdir() if path.is_file())
        photos = [Scene(path.read_bytes(), None) for path in files]
        report("photographs", photos, list(workers.values()))


if __name__ == "__main__":
    main()
