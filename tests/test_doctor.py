"""`happysad doctor` on complete and damaged installations."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from happysad import doctor, released
from happysad.cli import app
from happysad.cli import doctor as verb

verb.register(app)


def run(*options: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["doctor", *options])
    return done.exit_code, done.stdout


def test_a_whole_installation_passes_its_self_test() -> None:
    status, printed = run("--json")
    checks = {check["name"]: check for check in json.loads(printed)}
    assert status == 0
    assert checks["self-test"]["ok"] and "classified correctly" in checks["self-test"]["found"]
    assert "numpy" in checks["happysad"]["found"]


def test_a_missing_extra_is_not_an_error_and_names_its_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(doctor.EXTRAS, "serve", ("fastapi", "no_such_module"))
    status, printed = run()
    assert status == 0
    assert "no_such_module" in printed and "pip install 'happysad[serve]'" in printed


def test_a_damaged_model_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    shutil.copytree(released.FOLDER, folder)
    (folder / released.MODEL).write_bytes(b"not a model")
    monkeypatch.setattr(released.read_released, "__defaults__", (folder,))
    status, printed = run()
    assert status == 1
    assert "damaged" in printed and "reinstall happysad" in printed


def test_the_imagenet_weights_are_looked_for_where_keras_keeps_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    weights = tmp_path / "models" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_no_top.h5"

    def found() -> str:
        return next(each.found for each in doctor.examine() if each.name == "ImageNet weights")

    assert found() == "not downloaded yet"
    weights.touch()
    assert found() == "downloaded"
