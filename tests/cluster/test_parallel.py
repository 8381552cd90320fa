"""Several workers training one network, on a real Ray."""

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
from happysad.export.export import export_run
from happysad.training.checkpoint import Epoch
from happysad.training.network import load_network
from happysad.training.recipe import Recipe, Stage, recipe_toml
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
    make_dataset(faces, 160, seed=0, size=64)
    recipe = replace(
        TINY,
        input_size=96,
        weights="happysad",
        dense=(128,),
        dropout=0,
        stages=(
            Stage(layers="head", epochs=2, learning_rate=0.003),
            Stage(layers="block_14", epochs=4, learning_rate=0.0005, averaging=0.9),
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
    for own, shared in zip(alone[:2], together[:2], strict=True):
        # On a frozen backbone the shares add up to the very same steps.
        assert shared.loss == pytest.approx(own.loss, rel=1e-4)
        assert shared.accuracy == pytest.approx(own.accuracy)
        assert shared.val_loss == pytest.approx(own.val_loss, rel=1e-3)
    assert one.best.val_accuracy > 0.9
    assert two.best.val_accuracy > 0.9
    assert two.best.val_loss == pytest.approx(one.best.val_loss, abs=0.1)
    assert {path.name for path in two.run.iterdir()} == {path.name for path in one.run.iterdir()}
    (exported,) = export_run(two.run, ["float32"])
    assert exported.kept and exported.agreement == 1


def test_a_lost_worker_is_told_and_resuming_comes_to_the_same_network(
    faces: Path, tmp_path: Path
) -> None:
    def kill_the_other(row: Epoch) -> None:
        os.kill(worker_of(os.getpid()), signal.SIGKILL)

    recipe = replace(TINY, stages=(Stage(layers="head", epochs=3),))
    lost, whole = tmp_path / "lost", tmp_path / "whole"
    with pytest.raises(HappysadError, match=r"a worker was lost.* --resume goes on"):
        train(faces, recipe, lost, workers=2, on_epoch=kill_the_other)
    left: list[int] = []
    train(*(faces, recipe, lost), workers=2, resume=True, on_epoch=lambda r: left.append(r.epoch))
    assert left == [2, 3]
    train(faces, recipe, whole, workers=2)
    expected, resumed = (load_network(run / "model.keras") for run in (whole, lost))
    for a, b in zip(expected.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


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
    (tmp_path / "tiny.toml").write_text(recipe_toml(TINY))
    command = [sys.executable, "-m", "happysad", "train", str(faces)]
    command += ["--recipe", "tiny.toml", "--out", "run", "--workers", "2", "--address", "[::1]:9"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "error: no Ray cluster answers at '[::1]:9'" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_cluster_too_small_is_told(cluster: str, faces: Path, tmp_path: Path) -> None:
    with pytest.raises(HappysadError, match="has 2 CPUs, and 3 workers of 1 need 3"):
        train(faces, TINY, tmp_path / "run", workers=3, address=cluster, cpus=1)
