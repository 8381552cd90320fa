"""Cold start: one photo, one process, `happysad predict` against other tools.

python benchmarks/cold_start.py [--fer PYTHON] [--image FILE] [--rounds 7]

Whole processes, the commands taking turns: `happysad predict`, `import tensorflow`, a Keras script
that loads a MobileNetV2 from model.keras and calls model.predict, and, given the interpreter of an
environment that has it, the package fer with its Haar cascade. Wall and CPU seconds, the least and
the median, and each as a multiple of happysad's. One round before is not counted.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HAPPYSAD = str(Path(sys.executable).with_name("happysad"))

MAKE_KERAS = """
import sys, keras
base = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(224, 224, 3))
x = keras.layers.GlobalAveragePooling2D()(base.output)
x = keras.layers.Dense(1, activation="sigmoid")(x)
keras.Model(base.input, x).save(sys.argv[1])
"""

RUN_KERAS = """
import sys
from tensorflow import keras
model = keras.models.load_model(sys.argv[1])
image = keras.utils.img_to_array(keras.utils.load_img(sys.argv[2], target_size=(224, 224)))
x = keras.applications.mobilenet_v2.preprocess_input(image[None])
print(model.predict(x, verbose=0))
"""

RUN_FER = """
import sys, cv2
from fer.fer import FER
print(FER(mtcnn=False).detect_emotions(cv2.imread(sys.argv[1])))
"""


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command; returns its wall and its CPU seconds."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            sys.exit(f"failed: {command}\n{output.read().decode(errors='replace')}")
    return wall, usage.ru_utime + usage.ru_stime


def portrait() -> Path:
    """Matplotlib's image of Grace Hopper."""
    from matplotlib import cbook

    return Path(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fer", metavar="PYTHON", help="of an environment with the package fer")
    parser.add_argument("--image", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    image = str(arguments.image or portrait())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder, "model.keras"))
        subprocess.run([sys.executable, "-c", MAKE_KERAS, model], check=True)
        commands = {
            "`happysad predict photo.jpg`": [HAPPYSAD, "predict", image],
            "`import tensorflow`": [sys.executable, "-c", "import tensorflow"],
            "Keras script": [sys.executable, "-c", RUN_KERAS, model, image],
        }
        if arguments.fer:
            commands["fer, Haar"] = [arguments.fer, "-c", RUN_FER, image]
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for number in range(arguments.rounds + 1):
            for name, command in commands.items():
                seconds = measure(command)
                if number:
                    times[name].append(seconds)
    print("| | wall, least | median | CPU, least | median | wall, ratio | CPU, ratio |")
    print("| --- " * 7 + "|")
    own = [min(column) for column in zip(*next(iter(times.values())), strict=True)]
    for name, rows in times.items():
        (wall, wall_median), (cpu, cpu_median) = (
            (min(column), statistics.median(column)) for column in zip(*rows, strict=True)
        )
        print(
            f"| {name} | {wall:.2f} s | {wall_median:.2f} s | {cpu:.2f} s | {cpu_median:.2f} s "
            f"| {wall / own[0]:.1f} | {cpu / own[1]:.1f} |"
        )


if __name__ == "__main__":
    main()
