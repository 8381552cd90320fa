import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="the extra cluster is not installed")
pytest.importorskip("moto.server", reason="moto, the object store of these tests, is not installed")

import boto3
import ray
from matplotlib import cbook
from moto.server import ThreadedMotoServer
from PIL import Image
from ray.cluster_utils import Cluster


@pytest.fixture(scope="session")
def bucket() -> Iterator[Any]:
    """The bucket ``s3://images`` of a server on this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        made = boto3.resource("s3").Bucket("images")
        made.create()
        yield made
    server.stop()


@pytest.fixture(scope="session")
def cluster(bucket: Any) -> Iterator[Any]:
    """A Ray cluster of a head and two nodes with a CPU each; with access to the bucket's server."""
    node = {"object_store_memory": 100_000_000, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **node})
    for _ in range(2):
        made.add_node(num_cpus=1, object_store_memory=100_000_000)
    made.wait_for_nodes()
    yield made
    made.shutdown()


@pytest.fixture
def driver(cluster: Any) -> Iterator[None]:
    """This process as a driver of the cluster."""
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 300 images, most of them one of ten portraits; one cannot be read."""
    folder = tmp_path_factory.mktemp("album")
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as file:
        portrait = file.convert("RGB")
    for number in range(300):
        path = folder / f"{number:03}.jpg"
        if number < 10:
            portrait.resize((256 + 8 * number, 300 + 9 * number)).save(path)
        else:
            os.link(folder / f"{number % 10:03}.jpg", path)
    (folder / "123.jpg").unlink()
    (folder / "123.jpg").write_bytes(b"no image")
    return folder
