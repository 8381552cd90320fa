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
from happysad.crops import fit_square
from happysad.dataset.load import load
from happysad.dataset.split import split, write_manifest
from happysad.dataset.synthetic import make_dataset
from happysad.export.comparison import Comparison
from happysad.export.export import ExportResult, Reference, export_run, measure, write_checked
from happysad.image import read_image
from happysad.training.network import load_network
from happysad.training.recipe import read_recipe
from happysad.training.run import Run

Crops = npt.NDArray[np.uint8]
Files = dict[Precision, Path]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, coloured_run: Path) -> Path:
    """A finished run of 40 drawn faces, by a network that classifies them by colour."""
    return Path(shutil.copytree(coloured_run, tmp_path_factory.mktemp("runs") / "first"))


@pytest.fixture
def cli() -> typer.Typer:
    app = typer.Typer()
    register(app)
    return app


def test_a_run_is_exported_at_every_precision(run: Path, cli: typer.Typer) -> None:
    result = CliRunner().invoke(cli, [str(run), "--precision", "all", "--force", "--json"])

    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    exports = printed["exports"]
    assert [entry["precision"] for entry in exports] == list(PRECISIONS)
    written = json.loads((run / "export.json").read_text())
    assert (written["exports"], written["warnings"]) == (exports, printed["warnings"])
    # The run has 20 validation images.
    assert "only 20 images" in printed["warnings"][0]
    assert f"warning: {printed['warnings'][0]}" in result.stderr
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


def test_the_file_equals_the_calibrated_network(run: Path, cli: typer.Typer) -> None:
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
    reference = measure(red_is_happy, coloured_crops, np.eye(3)[truth])
    out = tmp_path / "model.tflite"
    content = model_files["float32"].read_bytes()

    good = write_checked(content, reference, "float32", out)
    assert good.kept
    assert (good.comparison.loss, good.accuracy, good.agreement) == (0, 1, 1)

    out.unlink()

    # As if the network had labelled some of the eighty crops differently, and correctly.
    def flipped(number: int) -> Reference:
        scores = reference.scores.copy()
        scores[:number] = scores[:number, ::-1]
        labels = (scores[:, 1] >= scores[:, 0]).astype(np.uint8)
        return replace(reference, scores=scores, labels=labels)

    assert write_checked(content, flipped(4), "float32", out).kept, "four losses may be chance"
    better = flipped(5)
    bad = write_checked(content, better, "float32", out)
    assert bad.comparison.loss == pytest.approx(6.25)
    assert bad.comparison.p_value == pytest.approx(0.5**5)
    assert not bad.kept
    assert not out.exists(), "the file of an earlier export is removed"

    assert write_checked(content, better, "float32", out, force=True).kept
    assert out.read_bytes() == content


def test_a_refused_export_is_reported_and_exits_with_1(
    run: Path, cli: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    worse = Comparison(images=80, lost=9, won=1, p_value=0.0107)
    real = write_checked

    def refuse_float16(
        content: bytes, reference: Reference, precision: Precision, out: Path, *, force: bool
    ) -> ExportResult:
        entry = real(content, reference, precision, out, force=force)
        return replace(entry, kept=False, comparison=worse) if precision == "float16" else entry

    monkeypatch.setattr("happysad.export.export.write_checked", refuse_float16)

    alone = CliRunner().invoke(cli, [str(run), "--precision", "float16"])
    both = CliRunner().invoke(cli, [str(run), "--precision", "float16", "--precision", "float32"])

    assert (alone.exit_code, both.exit_code) == (2, 1)
    for result in (alone, both):
        assert f"error: {run / 'model-float16.tflite'}: not written; float16 loses 10.00" in (
            result.stderr
        )
        assert "of 80 validation images 9 are lost and 1 won" in result.stderr
        assert "p = 0.011" in result.stderr and "--force" in result.stderr
    assert f"wrote {run / 'model-float32.tflite'}" in both.stdout


def test_export_json_describes_all_files_of_the_network(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))

    def described() -> list[str]:
        exports = json.loads((copy / "export.json").read_text())["exports"]
        return [entry["precision"] for entry in exports]

    for file in (*copy.glob("*.tflite"), *copy.glob("export.json")):
        file.unlink()
    for precision in ("float32", "float16", "float32"):
        export_run(copy, [precision], force=True)
    assert described() == ["float16", "float32"]
    (copy / "model-float32.tflite").unlink()
    export_run(copy, ["dynamic"], force=True)
    assert described() == ["float16", "dynamic"]
    with (copy / "model.keras").open("ab") as model:
        model.write(b"another network")
    export_run(copy, ["float32"], force=True)
    assert described() == ["float32"]


def test_a_diverged_network_and_a_split_without_clear_faces_are_refused(
    red_is_happy: keras.Model, coloured_crops: Crops
) -> None:
    with pytest.raises(DatasetError, match="no validation image is mostly called happy or sad"):
        measure(red_is_happy, coloured_crops, np.eye(3)[np.full(80, 2)])
    diverged = keras.models.clone_model(red_is_happy)
    diverged.set_weights([np.full_like(w, np.nan) for w in red_is_happy.get_weights()])
    with pytest.raises(ModelError, match="80 of the network's 80 outputs are not numbers"):
        measure(diverged, coloured_crops, np.eye(3)[np.arange(80) % 2])


def test_a_model_file_contains_no_local_paths(run: Path) -> None:
    export_run(run, ["float32"])
    content = (run / "model-float32.tflite").read_bytes()
    assert b"mobilenet.weights.h5" in content
    assert b"somebody" not in content


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
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
