"""`happysad score` on several hosts: network namespaces with addresses of their own."""

import io
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

BIN = Path(sys.executable).parent
HOSTS = {"head": "10.79.0.1", "one": "10.79.0.2", "two": "10.79.0.3", "store": "10.79.0.4"}
ADDRESS = f"{HOSTS['head']}:6379"
IMAGES = 300


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@dataclass(frozen=True)
class Network:
    """Hosts on a network of their own, which reaches nothing else.

    Attributes:
        prefix: Of the namespaces' names.
        environment: Where its object store is, and the credentials.
    """

    prefix: str
    environment: dict[str, str]

    def start(self, host: str, *command: str | Path, **options: Any) -> "subprocess.Popen[bytes]":
        """Start a command on a host."""
        inside = ["ip", "netns", "exec", f"{self.prefix}{host}", *map(str, command)]
        return subprocess.Popen(inside, env=os.environ | self.environment, **options)

    def run(self, host: str, *command: str | Path) -> tuple[int, str, str]:
        """Run a command on a host; returns status, output and errors."""
        process = self.start(host, *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        output, errors = process.communicate(timeout=240)
        return process.returncode, output.decode(), errors.decode()

    def crash(self, host: str) -> None:
        """Take a host off the network and kill its processes."""
        name = f"{self.prefix}{host}"
        ip("-n", name, "link", "set", "eth0", "down")
        found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
        for pid in found.stdout.split():
            subprocess.run(["kill", "-9", pid], capture_output=True)


@pytest.fixture
def network() -> Iterator[Network]:
    """Four hosts at one switch; skips the test where namespaces are not allowed."""
    if not shutil.which("ip"):
        pytest.skip("no ip command here: apt install iproute2")
    prefix = f"happysad-{os.getpid()}-"
    switch = f"{prefix}switch"
    try:
        ip("netns", "add", switch)
    except subprocess.CalledProcessError:
        pytest.skip("network namespaces need root")
    settings = {
        "AWS_ENDPOINT_URL": f"http://{HOSTS['store']}:5000",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        # gRPC and boto3 would ask a proxy that these hosts cannot reach.
        "no_proxy": ",".join(HOSTS.values()),
        "NO_PROXY": ",".join(HOSTS.values()),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(),
    }
    made = Network(prefix, settings)
    try:
        ip("-n", switch, "link", "add", "switch", "type", "bridge")
        ip("-n", switch, "link", "set", "switch", "up")
        for host, address in HOSTS.items():
            name = f"{prefix}{host}"
            ip("netns", "add", name)
            ip("-n", switch, "link", "add", host, "type", "veth", "peer", "eth0", "netns", name)
            ip("-n", switch, "link", "set", host, "master", "switch", "up")
            ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield made
    finally:
        for host in HOSTS:
            made.crash(host)
        for host in (*HOSTS, "switch"):
            subprocess.run(["ip", "netns", "del", f"{prefix}{host}"], capture_output=True)


def test_a_host_that_is_lost_loses_no_image(network: Network, album: Path, tmp_path: Path) -> None:
    store = [sys.executable, "-m", "moto.server", "-H", HOSTS["store"], "-p", "5000"]
    network.start("store", *store, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    files = tmp_path / "put.py"
    files.write_text(PUT)
    status, _, errors = network.run("store", sys.executable, files, album, str(IMAGES))
    assert status == 0, errors
    # The paths of Ray's sockets must be short.
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        for host in ("head", "one", "two"):
            where = ["--address", ADDRESS]
            if host == "head":
                where = ["--head", "--port", "6379", "--include-dashboard", "false"]
            options = ["--num-cpus", "0" if host == "head" else "1", "--disable-usage-stats"]
            options += ["--object-store-memory", "100000000", "--temp-dir", f"{folder}/{host}"]
            ray = (str(BIN / "ray"), "start", *where, "--node-ip-address", HOSTS[host], *options)
            status, _, errors = network.run(host, *ray)
            assert status == 0, errors
        score_and_lose_a_host(network, tmp_path)


def score_and_lose_a_host(network: Network, folder: Path) -> None:
    command = [str(BIN / "happysad"), "score", "s3://images/album", "--out", "s3://images/scores"]
    command += ["--chunk-size", "10", "--json", "--address", ADDRESS]
    without = ("env", "-u", "RAY_AUTH_TOKEN", "-u", "RAY_AUTH_MODE", "HOME=/nowhere")
    status, _, errors = network.run("head", *without, *command)
    assert status == 2 and "copy ~/.ray/auth_token" in errors.splitlines()[-1]
    job = network.start("head", *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    get = folder / "get.py"
    get.write_text(GET)
    deadline = time.monotonic() + 120
    while len(list((folder / "rows").glob("*"))) < 4 and time.monotonic() < deadline:
        assert job.poll() is None, job.communicate()
        network.run("store", sys.executable, get, folder / "rows")
    network.crash("two")
    output, warnings = job.communicate(timeout=240)
    assert job.returncode == 1, warnings  # one image cannot be read
    assert json.loads(output)["images"] == IMAGES
    network.run("store", sys.executable, get, folder / "rows")
    rows = [
        row
        for part in sorted((folder / "rows").iterdir())
        for row in pq.read_table(io.BytesIO(part.read_bytes())).to_pylist()
    ]
    assert [row["uri"] for row in rows] == [
        f"s3://images/album/{number:04}.jpg" for number in range(IMAGES)
    ]
    assert sum(row["status"] == "error" for row in rows) == 1


PUT = """
import sys, time
from pathlib import Path
import boto3
folder, count = Path(sys.argv[1]), int(sys.argv[2])
for _ in range(100):
    try:
        bucket = boto3.resource("s3").Bucket("images")
        bucket.create()
        break
    except Exception:
        time.sleep(0.2)
images = sorted(folder.iterdir())
for number in range(count):
    path = images[number if number < len(images) else number % 10]
    bucket.put_object(Key=f"album/{number:04}.jpg", Body=path.read_bytes())
"""

GET = """
import sys
from pathlib import Path
import boto3
folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
for item in boto3.resource("s3").Bucket("images").objects.filter(Prefix="scores/part"):
    path = folder / item.key.rpartition("/")[2]
    if not path.exists():
        path.write_bytes(item.get()["Body"].read())
"""
