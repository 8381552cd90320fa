"""`happysad serve` under load: beside Flask and Keras, at twice what it can do, and under attack.

python benchmarks/serving.py [--seconds 10] [--overload 60] [--garbage 10000]

Needs the load generator hey (apt install hey) and Flask (the group bench).

Throughput: closed loops of 1, 8 and 64 clients on a 224-pixel JPEG of a face, as the
straightforward server takes it (Flask, load_model, Pillow, model.predict on a MobileNetV2 at 224
pixels), and on a 640×480 image, whose face has to be found first. Overload: twice the throughput
of the 640×480 image is asked for, steadily. Attack: bodies of garbage, cut-off images and
decompression bombs from eight clients, with slow and half-closed connections beside, while another
client goes on asking. Linux only.
"""

import argparse
import csv
import http.client
import io
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from cold_start import HAPPYSAD, MAKE_KERAS, portrait
from PIL import Image

CLIENTS: Final = (1, 8, 64)

FLASK: Final = """
import io, sys
import keras
import numpy as np
from flask import Flask, jsonify, request
from PIL import Image
app = Flask(__name__)
model = keras.models.load_model(sys.argv[1])

@app.get("/readyz")
def ready():
    return "ready"

@app.post("/v1/predict")
def predict():
    image = Image.open(io.BytesIO(request.get_data())).convert("RGB").resize((224, 224))
    x = keras.applications.mobilenet_v2.preprocess_input(np.asarray(image, np.float32)[None])
    return jsonify(probability=float(model.predict(x, verbose=0)[0, 0]))

app.run(port=int(sys.argv[2]), threaded=True)
"""


@dataclass(frozen=True)
class Load:
    """What clients saw.

    Attributes:
        seconds: Of each answer with status 200, sorted.
        statuses: How many answers had which status.
        rate: Answers with status 200, per second.
    """

    seconds: list[float]
    statuses: Counter[int]
    rate: float

    def percentile(self, percent: float) -> float:
        """Return a quantile of the successful responses' times in milliseconds."""
        return 1000 * float(np.percentile(self.seconds, percent))


@contextmanager
def running(*command: str) -> Iterator[tuple[int, str]]:
    """Run a server, its port appended to the command; gives its process id and address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [*command, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"no server: {' '.join(command)[:200]}")
            time.sleep(0.1)
        yield process.pid, f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def happysad(*options: str) -> tuple[str, ...]:
    """The command of our server."""
    return (HAPPYSAD, "serve", *options, "--port")


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def ask(url: str, image: Path, clients: int, seconds: float, rate: float = 0) -> Load:
    """Send an image again and again; ``rate`` is requests per second, 0 = as fast as it goes."""
    command = ["hey", "-z", f"{seconds}s", "-c", str(clients), "-m", "POST", "-T", "image/jpeg"]
    command += ["-D", str(image), "-t", "60", "-o", "csv"]
    if rate:
        command += ["-q", f"{rate / clients:.3f}"]
    done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    good = [row for row in rows if row["status-code"] == "200"]
    return Load(
        sorted(float(row["response-time"]) for row in good),
        Counter(int(row["status-code"]) for row in rows),
        len(good) / seconds,
    )


def ask_steadily(url: str, image: Path, seconds: float, rate: float) -> Load:
    """Send an image at a constant rate (open loop), from 200 clients in turn.

    All clients of one hey ask at the same instant, so there are twenty of them, each begun a little
    later.
    """
    groups, each = 20, 10

    def group(number: int) -> Load:
        time.sleep(number * each / rate)
        return ask(url, image, each, seconds, rate / groups)

    with ThreadPoolExecutor(groups) as pool:
        loads = list(pool.map(group, range(groups)))
    return Load(
        sorted(value for load in loads for value in load.seconds),
        sum((load.statuses for load in loads), Counter()),
        sum(load.rate for load in loads),
    )


def make_images(folder: Path) -> tuple[Path, Path]:
    """Make a JPEG of a face, 224 pixels, and one of 640×480 with a face in it."""
    with Image.open(portrait()) as file:
        image = file.convert("RGB")
    face, scene = folder / "face.jpg", folder / "scene.jpg"
    image.crop((157, 113, 369, 325)).resize((224, 224)).save(face)
    image.crop((0, 60, 512, 444)).resize((640, 480)).save(scene)
    return face, scene


def throughput(face: Path, scene: Path, folder: Path, seconds: float) -> float:
    """Print the table of servers and clients; gives ours on the 640×480 image at eight."""
    model, ours = str(folder / "model.keras"), 0.0
    subprocess.run([sys.executable, "-c", MAKE_KERAS, model], check=True)
    servers = (
        ("happysad, a face", happysad(), face, "/v1/predict?crop=whole"),
        ("Flask and Keras, a face", (sys.executable, "-c", FLASK, model), face, "/v1/predict"),
        ("happysad, faces of 640×480", happysad(), scene, "/v1/predict"),
        ("the same, --workers 2 --threads 1", happysad("--workers", "2", "--threads", "1"), scene,
         "/v1/predict"),
    )  # fmt: skip
    print("| server | clients | images/s | p50 | p99 |\n| --- | --- | --- | --- | --- |")
    for name, command, image, path in servers:
        with running(*command) as (_, url):
            ask(url + path, image, 2, 2)
            for clients in CLIENTS:
                load = ask(url + path, image, clients, seconds)
                if set(load.statuses) != {200}:
                    print(f"not all answered: {dict(load.statuses)}")
                print(
                    f"| {name} | {clients} | {load.rate:.1f} "
                    f"| {load.percentile(50):.1f} ms | {load.percentile(99):.1f} ms |",
                    flush=True,
                )
                if image is scene and not ours and clients == 8:
                    ours = load.rate
    return ours


def resident(process: int) -> float:
    """Megabytes of memory that a process holds."""
    status = Path(f"/proc/{process}/status").read_text("ascii")
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1000


def overload(scene: Path, capacity: float, seconds: float) -> None:
    """Print the behaviour at twice the capacity, and afterwards."""
    with running(*happysad()) as (process, url):
        address = f"{url}/v1/predict"
        before = ask(address, scene, 1, 5)
        samples: list[float] = []
        stop = threading.Event()

        def sample() -> None:
            while not stop.wait(0.5):
                samples.append(resident(process))

        watching = threading.Thread(target=sample)
        watching.start()
        load = ask_steadily(address, scene, seconds, 2 * capacity)
        stop.set()
        watching.join()
        after = ask(address, scene, 1, 5)
    quarter = len(samples) // 4
    print(f"\nasked {2 * capacity:.0f}/s for {seconds:g} s: {dict(load.statuses)}")
    p50, p99 = load.percentile(50), load.percentile(99)
    print(f"answered {load.rate:.1f}/s, p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    print(
        f"memory: {np.mean(samples[quarter : 2 * quarter]):.0f} MB in the second quarter, ", end=""
    )
    print(f"{np.mean(samples[-quarter:]):.0f} in the last, {max(samples):.0f} at most")
    for name, load in (("before", before), ("after", after)):
        print(f"one client {name}: p50 {load.percentile(50):.1f} ms, {dict(load.statuses)}")


def garbage(scene: bytes, count: int) -> Iterator[bytes]:
    """Make bodies that are no images: noise, cut-off and broken JPEGs, bombs."""
    rng = np.random.default_rng(0)
    bomb = io.BytesIO()
    Image.new("1", (40_000, 40_000)).save(bomb, "PNG")
    for number in range(count):
        kind = number % 4
        if kind == 0:
            yield rng.bytes(int(rng.integers(1, 50_000)))
        elif kind == 1:
            yield scene[: int(rng.integers(1, len(scene) // 2))]
        elif kind == 2:
            broken = bytearray(scene)
            for place in rng.integers(2, 600, 40):
                broken[place] = int(rng.integers(256))
            yield bytes(broken)
        elif number % 40 == 3:
            yield bomb.getvalue()
        else:
            yield b"\x89PNG\r\n\x1a\n" + rng.bytes(2000)


def attack(scene: Path, count: int) -> None:
    """Print the latency of a normal client beside hostile ones."""
    with running(*happysad()) as (process, url):
        port, before = int(url.rpartition(":")[2]), ask(f"{url}/v1/predict", scene, 1, 5)
        start, slow = time.monotonic(), []
        for number in range(90):
            connection = socket.create_connection(("127.0.0.1", port))
            if number % 3 == 0:
                connection.sendall(b"POST /v1/predict HTTP/1.1\r\nX-Slow: ")
            else:
                connection.sendall(
                    b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\n"
                    b"Content-Length: 100000\r\n\r\nsome"
                )
            if number % 3 == 2:
                connection.shutdown(socket.SHUT_WR)
            slow.append(connection)

        def send(body: bytes) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("POST", "/v1/predict", body, {"Content-Type": "image/jpeg"})
            status = connection.getresponse().status
            connection.close()
            return status

        with ThreadPoolExecutor(9) as pool:
            beside = pool.submit(ask, f"{url}/v1/predict", scene, 1, max(5, count / 500))
            statuses = Counter(pool.map(send, garbage(scene.read_bytes(), count)))
            took = time.monotonic() - start
            during = beside.result()
        after = ask(f"{url}/v1/predict", scene, 1, 5)
        memory = resident(process)
        for connection in slow:
            connection.close()
    print(f"\n{count} bodies of garbage in {took:.0f} s, 90 slow connections: {dict(statuses)}")
    print(f"memory afterwards {memory:.0f} MB")
    for name, load in (("before", before), ("meanwhile", during), ("after", after)):
        print(
            f"one client {name}: p50 {load.percentile(50):.1f}, p99 {load.percentile(99):.1f} ms, "
            f"{dict(load.statuses)}"
        )


def main() -> None:
    """Print all three."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--overload", type=float, default=60, metavar="SECONDS")
    parser.add_argument("--garbage", type=int, default=10_000, metavar="BODIES")
    arguments = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with tempfile.TemporaryDirectory() as name:
        face, scene = make_images(Path(name))
        capacity = throughput(face, scene, Path(name), arguments.seconds)
        if arguments.overload:
            overload(scene, capacity, arguments.overload)
        if arguments.garbage:
            attack(scene, arguments.garbage)


if __name__ == "__main__":
    main()
