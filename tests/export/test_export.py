import json
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest
import typer
from typer.testing import CliRunner

from happysad import Classifier, DatasetError, ModelError
from happysad.classifier import PRECISIONS, Precision
from happysad.cli.export import register
from happysad.dataset.load import load
from happysad.dataset.split import split, write_manifest
from happysad.dataset.synthetic import make_dataset
from happysad.export.export import MAX_LOSS, Reference, export_run, measure, write_checked
from happysad.image import fit_square, read_image
from happysad.training.network import load_network
from happysad.training.recipe import read_recipe
from happysad.training.run import Run

Crops = npt.NDArray[np.uint8]
Files = dict[Precision, Path]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, coloured_run: Path) -> Path:
    """A finished run of 40 drawn faces, by a network that tells them by their colour."""
    return Path(shutil.copytree(coloured_run, tmp_path_factory.mktemp("runs") / "first"))


@pytest.fixture
def cli() -> typer.Typer:
    app = typer.Typer()
    register(app)
    return app


def test_a_run_is_exported_at_every_precision(run: Path, cli: typer.Typer) -> None:
    result = CliRunner().invoke(cli, [str(run), "--precision", "all", "--force", "--json"])

    assert result.exit_code == 0, result.output
    exports = json.loads(result.stdout)
    assert [entry["precision"] for entry in exports] == list(PRECISIONS)
    assert json.loads((run / "export.json").read_text())["exports"] == exports
    for entry in exports:
        path = run / f"model-{entry['precision']}.tflite"
        assert entry["path"] == str(path)
        assert entry["bytes"] == path.stat().st_size
        info = Classifier(path).info
        assert (info.precision, info.recipe, info.input_size) == (entry["precision"], "seed", 32)
        assert info.data_fingerprint == Run(run).facts()["fingerprint"]
    assert exports[0]["agreement"] == 1
    assert exports[0]["max_difference"] < 1e-4
    assert not list(run.glob(".*"))


def test_the_file_says_what_the_calibrated_network_says(run: Path, cli: typer.Typer) -> None:
    result = CliRunner().invoke(cli, [str(run), "--precision", "float32"])

    assert result.exit_code == 0, result.output
    assert "float32" in result.stdout
    assert f"wrote {run / 'model-float32.tflite'}" in result.stdout
    classifier = Classifier(run / "model-float32.tflite")
    faces = sorted(Path(Run(run).facts()["dataset"]).rglob("*.png"))
    crops = np.stack([fit_square(read_image(face), 32) for face in faces])
    raw = load_network(run / "model.keras").predict(crops, verbose=0)[:, 0].astype(np.float64)
    logits = np.log(raw / (1 - raw))
    calibrated = 1 / (1 + np.exp(-logits / classifier.info.temperature))
    np.testing.assert_allclose(classifier.probabilities(crops), calibrated, atol=1e-4)


def test_an_export_that_loses_accuracy_is_refused_unless_forced(
    model_files: Files, red_is_happy: keras.Model, coloured_crops: Crops, tmp_path: Path
) -> None:
    truth = (red_is_happy.predict(coloured_crops, verbose=0)[:, 0] >= 0.5).astype(np.uint8)
    reference = measure(red_is_happy, coloured_crops, truth)
    out = tmp_path / "model.tflite"
    content = model_files["float32"].read_bytes()

    good = write_checked(content, reference, "float32", out)
    assert good.kept
    assert (good.change, good.accuracy, good.agreement) == (0, 1, 1)

    out.unlink()

    # As if the network had called some of the eighty crops the other way, and rightly.
    def flipped(number: int) -> Reference:
        p = reference.probabilities.copy()
        p[:number] = 1 - p[:number]
        return replace(reference, probabilities=p, labels=(p >= 0.5).astype(np.uint8))

    assert write_checked(content, flipped(2), "float32", out).kept, "two images may be chance"
    out.unlink()
    better = flipped(3)
    bad = write_checked(content, better, "float32", out)
    assert -bad.change == pytest.approx(3.75)
    assert -bad.change > MAX_LOSS
    assert not bad.kept
    assert not out.exists()

    assert write_checked(content, better, "float32", out, force=True).kept
    assert out.read_bytes() == content


def test_a_refusal_is_told_and_is_the_exit_status(
    run: Path, cli: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("happysad.export.export.MAX_LOSS", -200.0)
    monkeypatch.setattr("happysad.export.export.CHANCE", -200)

    result = CliRunner().invoke(cli, [str(run), "--precision", "float16"])

    assert result.exit_code == 2
    assert "float16 loses" in result.stderr
    assert "--force" in result.stderr


def test_a_model_that_is_passed_on_does_not_tell_where_it_was_made(run: Path) -> None:
    export_run(run, ["float32"])
    content = (run / "model-float32.tflite").read_bytes()
    assert b"mobilenet.weights.h5" in content
    assert b"somebody" not in content


def test_a_folder_that_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"not a finished run \(no environment\.json\)"):
        export_run(tmp_path, ["int8"])


def test_images_that_changed_since_training_are_refused(
    tmp_path: Path, red_is_happy: keras.Model
) -> None:
    faces = tmp_path / "faces"
    make_dataset(faces, 8, seed=2, size=48)
    dataset = load(faces, 32)
    run = Run(tmp_path / "run")
    run.begin(read_recipe("seed"), faces, resume=False)
    write_manifest(run.manifest, dataset, split(dataset, 0.5))
    red_is_happy.save(run.model)

    victim = dataset.samples[0].path
    victim.write_bytes(dataset.samples[1].path.read_bytes())
    with pytest.raises(DatasetError, match="has changed since the run was trained"):
        export_run(run.path, ["int8"])
    victim.unlink()
    with pytest.raises(DatasetError, match="No such file"):
        export_run(run.path, ["int8"])
