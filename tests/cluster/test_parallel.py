"""Several workers training one network, on a real Ray."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from happysad.dataset.synthetic import make_dataset
from happysad.errors import HappysadError, RecipeError
from happysad.training.checkpoint import Epoch
from happysad.training.network import load_network
from happysad.training.recipe import Recipe, Stage, read_recipe, recipe_toml
from happysad.training.train import train as train_alone

pytest.importorskip("ray", reason="needs happysad[cluster]")

import ray
from ray.cluster_utils import Cluster

from happysad.cluster.parallel import train

TINY = Recipe(
    name="tiny",
    input_size=32,
    weights="none",
    dense=(8,),
    batch_size=16,
    class_weights=True,
    stages=(
        Stage(layers="head", epochs=1),
        Stage(layers="block_14", epochs=2, averaging=0.9),
    ),
)


@pytest.fixture
def cluster() -> Iterator[str]:
    """The address of a cluster of two nodes, with one CPU each."""
    options = {"num_cpus": 1, "object_store_memory": 100_000_000}
    nodes = Cluster(initialize_head=True, head_node_args=options | {"include_dashboard": False})
    nodes.add_node(**options)
    yield nodes.address
    ray.shutdown()
    nodes.shutdown()


def test_two_workers_learn_what_one_does(cluster: str, tmp_path: Path) -> None:
    faces = tmp_path / "faces"
    make_dataset(faces, 200, seed=0, size=48)
    recipe = replace(
        read_recipe("scratch"),
        input_size=48,
        stages=(
            Stage(layers="head", epochs=2, learning_rate=0.01),
            Stage(layers="all", epochs=8, learning_rate=0.002, schedule="cosine", warmup=1),
        ),
    )
    alone: list[Epoch] = []
    together: list[Epoch] = []
    one = train_alone(faces, recipe, tmp_path / "one", on_epoch=alone.append)
    two = train(
        *(faces, recipe, tmp_path / "two"),
        workers=2,
        address=cluster,
        cpus=1,
        on_epoch=together.append,
    )
    print(one.best, two.best)
    for own, shared in zip(alone[:2], together[:2], strict=True):
        # On a frozen backbone the shares add up to the very same steps.
        assert shared.loss == pytest.approx(own.loss, rel=1e-4)
        assert shared.accuracy == pytest.approx(own.accuracy)
        assert shared.val_loss == pytest.approx(own.val_loss, rel=1e-3)
    assert one.best.val_accuracy > 0.8
    assert two.best.val_accuracy > one.best.val_accuracy - 0.1
    assert {path.name for path in two.run.iterdir()} == {path.name for path in one.run.iterdir()}


def happysad(*args: str | Path) -> list[str]:
    return [sys.executable, "-c", "from happysad.cli import main; main()", *map(str, args)]


def test_a_lost_worker_is_told_and_resuming_comes_to_the_same_network(
    faces: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(recipe_toml(TINY))
    command = happysad("train", faces, "--recipe", recipe, "--workers", "2", "--json", "--out")
    process = subprocess.Popen(
        [*command, tmp_path / "lost"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert json.loads(process.stdout.readline())["epoch"] == 1
    os.kill(worker_of(process.pid), signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == 2 and "a worker was lost" in said and "--resume" in said, said
    resumed = subprocess.run([*command, tmp_path / "lost", "--resume"], stdout=subprocess.PIPE)
    epochs = [json.loads(line).get("epoch") for line in resumed.stdout.splitlines()]
    assert resumed.returncode == 0 and epochs[-3:] == [2, 3, None]
    subprocess.run([*command, tmp_path / "whole"], check=True, stdout=subprocess.DEVNULL)
    whole, after = (load_network(tmp_path / name / "model.keras") for name in ("whole", "lost"))
    for a, b in zip(whole.get_weights(), after.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with (tmp_path / "lost" / "history.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3


def worker_of(pid: int) -> int:
    """Find the process of the other worker, below the one that started Ray."""
    parents, found = {}, []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parents[int(folder.name)] = int(
                    (folder / "stat").read_text().rpartition(")")[2].split()[1]
                )
                if b"ray::_follow" in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
    for worker in found:
        above = worker
        while above in parents:
            above = parents[above]
            if above == pid:
                return worker
    raise AssertionError("the other worker is not there")


def test_what_cannot_be_shared_is_refused(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="batch_size is 1,"):
        train(faces, replace(TINY, batch_size=1), tmp_path / "run", workers=2)
    with pytest.raises(HappysadError, match="no Ray cluster answers"):
        train(faces, TINY, tmp_path / "run", workers=2, address="127.0.0.1:9")
    assert not (tmp_path / "run").exists()


def test_a_cluster_too_small_is_told(cluster: str, faces: Path, tmp_path: Path) -> None:
    with pytest.raises(HappysadError, match="has 2 CPUs, and 3 workers of 1 need 3"):
        train(faces, TINY, tmp_path / "run", workers=3, address=cluster, cpus=1)
