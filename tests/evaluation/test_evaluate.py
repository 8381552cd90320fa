import csv
import json
import os
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import typer
from typer.testing import CliRunner
from web import accessibility_violations, chromium

from happysad.cli.evaluate import register
from happysad.dataset.load import load
from happysad.dataset.split import write_manifest
from happysad.dataset.synthetic import make_dataset
from happysad.errors import DatasetError, HappysadError, ModelError
from happysad.evaluation.evaluate import Evaluation, evaluate


@pytest.fixture(scope="module")
def testset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn faces, and one file with an awkward name that is no image."""
    folder = tmp_path_factory.mktemp("data") / "faces <test>"
    make_dataset(folder, 24, seed=3, size=32)
    (folder / "sad" / "<b>笑.png").write_bytes(b"not an image")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_network: keras.Model, testset: Path) -> Path:
    """A run directory whose training used four of the faces."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    folder.mkdir()
    tiny_network.save(folder / "model.keras")
    (folder / "recipe.toml").touch()
    dataset = load(testset, 32)
    write_manifest(folder / "split.csv", dataset, np.zeros(len(dataset.samples), bool))
    lines = (folder / "split.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "split.csv").write_text("".join(lines[:5]), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def evaluation(run: Path, testset: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return evaluate(run, testset, tmp_path_factory.mktemp("out"))


def test_everything_is_written_and_nothing_else(evaluation: Evaluation) -> None:
    charts = ("confusion", "precision-recall", "reliability", "roc", "thresholds")
    assert {path.name for path in evaluation.report.parent.iterdir()} == {
        *(f"{name}.{suffix}" for name in charts for suffix in ("png", "svg")),
        "metrics.json",
        "mistakes.png",
        "predictions.csv",
        "report.html",
    }


def test_metrics_json_names_model_and_dataset(evaluation: Evaluation, testset: Path) -> None:
    facts = json.loads((evaluation.report.parent / "metrics.json").read_text(encoding="utf-8"))
    assert facts["schema"] == 2
    assert facts["model"]["name"] == "first/model.keras"
    assert facts["model"]["kind"] == "keras"
    assert len(facts["model"]["sha256"]) == 64
    assert facts["model"]["input_size"] == 32
    assert facts["dataset"]["name"] == "faces <test>"
    assert facts["dataset"]["fingerprint"] == load(testset, 32).fingerprint
    assert facts["dataset"]["sad"] + facts["dataset"]["happy"] == 24
    assert facts["dataset"]["seen"] == 4
    assert [skipped["path"] for skipped in facts["dataset"]["skipped"]] == ["sad/<b>笑.png"]
    assert (facts["threshold"], facts["label_threshold"]) == (0.5, None)
    accuracy = facts["figures"]["accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]


def test_predictions_add_up_to_the_accuracy(evaluation: Evaluation, testset: Path) -> None:
    path = evaluation.report.parent / "predictions.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all((testset / row["path"]).is_file() for row in rows)
    right = np.mean([row["label"] == row["prediction"] for row in rows])
    assert right == pytest.approx(evaluation.metrics.figures["accuracy"].value)
    assert all((float(row["probability"]) >= 0.5) == (row["prediction"] == "happy") for row in rows)


def test_the_report_needs_nothing_but_itself(evaluation: Evaluation) -> None:
    html = evaluation.report.read_text(encoding="utf-8")
    assert "//" not in re.sub(r"data:image/\w+;base64,[\w+/=]+", "", html)
    assert not re.search(r"<(link|iframe)|<script[^>]|@import|url\((?!#)", html)
    sources = re.findall(r'<img src="([^"]{0,22})', html)
    assert len(sources) > 5 and html.count("<svg") == 5
    assert all(source.startswith("data:image/") for source in sources)
    assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)', html))


def test_the_charts_show_their_figures(evaluation: Evaluation) -> None:
    (tn, fp), (fn, tp) = evaluation.metrics.confusion
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.goto(evaluation.report.as_uri())
        for title, marks, text in (
            ("ROC curve", 8, r"^P\(happy\) from [\d.]+: [\d.]+% of the happy faces are called"),
            ("Metrics by threshold", 200, r"^threshold 0\.\d\d: \w+"),
            ("Reliability", 3, r"^P\(happy\) .*faces$|on average: [\d.]+% are happy$"),
        ):
            chart = page.locator(".chart", has=page.get_by_role("img", name=title))
            mark = chart.locator("[data-tip]")
            assert mark.count() >= marks
            mark.nth(mark.count() // 2).hover(force=True)
            assert re.search(text, chart.locator("output").inner_text())
        shown = page.get_by_role("img", name="Confusion matrix").text_content() or ""
        assert all(str(count) in shown for count in (tn, fp, fn, tp))
        overflow = "document.documentElement.scrollWidth - innerWidth"
        assert page.evaluate(overflow) <= 0, "the page fits a phone"
        assert not accessibility_violations(page)


def test_metrics_by_a_column_of_the_groups(
    run: Path, evaluation: Evaluation, testset: Path, tmp_path: Path
) -> None:
    names = sorted(path.relative_to(testset).as_posix() for path in testset.glob("*/face*"))
    cameras = {name: ("old <1>", "new")[i % 3 == 0] for i, name in enumerate(names[:20])}
    table = testset / "groups.csv"
    table.write_text("path,group,camera\n" + "".join(f"{n},{n},{c}\n" for n, c in cameras.items()))
    try:
        found = evaluate(run, testset, tmp_path / "out", by="camera")
        with pytest.raises(DatasetError, match="'path', 'group', 'camera'; needed: path, lens"):
            evaluate(run, testset, tmp_path / "other", by="lens")
    finally:
        table.unlink()
    slices = {each["value"]: each for each in found.facts["slices"]["values"]}
    assert {value: each["images"] for value, each in slices.items()} == {
        "new": 7,
        "old <1>": 13,
        "": 4,
    }
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["path"]: row["label"] == row["prediction"] for row in csv.DictReader(file)}
    right = [rows[name] for name, camera in cameras.items() if camera == "new"]
    assert slices["new"]["accuracy"] == pytest.approx(np.mean(right))
    assert slices["new"]["low"] <= slices["new"]["accuracy"] <= slices["new"]["high"]
    page = found.report.read_text("utf-8")
    assert "<h2>By camera</h2>" in page and "old &lt;1&gt;" in page and "(no value)" in page


@pytest.mark.parametrize("row", ["", "sad/<b>笑.png,1,3\n"])
def test_votes_for_no_readable_image_are_as_no_votes(
    run: Path, testset: Path, tmp_path: Path, row: str
) -> None:
    table = testset / "votes.csv"
    table.write_text(f"path,happy,sad\n{row}", encoding="utf-8")
    try:
        found = evaluate(run, testset, tmp_path)
    finally:
        table.unlink()
    assert "votes" not in found.facts and found.report.is_file()


def test_other_faces_of_the_training_count_as_seen(
    tiny_network: keras.Model, testset: Path, tmp_path: Path
) -> None:
    faces, run = tmp_path / "faces", tmp_path / "run"
    shutil.copytree(testset, faces)
    (faces / "other").mkdir()
    (faces / "happy").rename(faces / "other" / "calm")
    (faces / "happy").mkdir()
    one = next((faces / "other" / "calm").iterdir())
    one.rename(faces / "happy" / one.name)
    run.mkdir()
    tiny_network.save(run / "model.keras")
    (run / "recipe.toml").touch()
    dataset = load(faces, 32, others=True)
    write_manifest(run / "split.csv", dataset, np.zeros(len(dataset.samples), bool))
    assert evaluate(run, testset, tmp_path / "out").facts["dataset"]["seen"] == 24


def test_a_foreign_file_beside_a_model_is_not_its_split(
    run: Path, testset: Path, tmp_path: Path
) -> None:
    shutil.copy(run / "model.keras", tmp_path)
    (tmp_path / "split.csv").write_text("the split,of another program\n")
    found = evaluate(tmp_path / "model.keras", testset, tmp_path / "out", images=False)
    assert found.facts["dataset"]["seen"] is None


def test_names_need_not_be_utf_8(run: Path, testset: Path, tmp_path: Path) -> None:
    faces, model = (Path(os.fsdecode(os.fsencode(tmp_path) + n)) for n in (b"/\xe9", b"/run\xe9"))
    try:
        shutil.copytree(testset, faces)
    except OSError:
        pytest.skip("the file system allows UTF-8 only")
    shutil.copytree(run, model)
    (model / "history.csv").touch()
    Path(os.fsdecode(os.fsencode(faces) + b"/happy/caf\xe9.jpg")).write_bytes(b"not an image")
    found = evaluate(model, faces, tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "metrics.json").read_text("utf-8"))
    assert facts == found.facts
    assert (facts["model"]["name"], facts["dataset"]["name"]) == ("run\ufffd/model.keras", "\ufffd")
    assert facts["dataset"]["skipped"][0]["path"] == "happy/caf\ufffd.jpg"
    assert facts["dataset"]["skipped"][0]["reason"].startswith("happy/caf\ufffd.jpg: ")
    models = [model, run]
    app = typer.Typer()
    register(app)
    arguments = [*map(str, models), str(faces), "--out", str(tmp_path / "comparison")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1, result.output
    facts = json.loads((tmp_path / "comparison" / "comparison.json").read_text("utf-8"))
    assert [each["name"] for each in facts["models"]] == ["run\ufffd", "first"]


def test_the_slider_shows_the_metrics_of_any_threshold(evaluation: Evaluation) -> None:
    happy = evaluation.labels.astype(bool)
    with chromium() as browser:
        page = browser.new_page()
        page.goto(evaluation.report.as_uri())
        for threshold in (0.5, 0.3, 0.0, 1.0):
            page.locator("#threshold input").fill(str(round(1000 * threshold)))
            rows = page.locator("#threshold tbody tr")
            shown = [row.locator("td").all_inner_texts()[:2] for row in rows.all()]
            called = evaluation.probabilities >= threshold
            expected = [
                [str(int((which & ~called).sum())), str(int((which & called).sum()))]
                for which in (~happy, happy)
            ]
            assert shown == expected, threshold
            accuracy = f"Accuracy {100 * float((called == happy).mean()):.1f}\u00a0%"
            assert accuracy in page.locator("#accuracies").inner_text()


def test_the_report_shows_names_and_does_not_run_them(evaluation: Evaluation) -> None:
    html = evaluation.report.read_text(encoding="utf-8")
    assert "faces &lt;test&gt;" in html
    assert "&lt;b&gt;笑.png" in html
    assert "<b>笑" not in html


def test_the_report_warns_of_images_known_from_training(evaluation: Evaluation) -> None:
    assert "4 of these images" in evaluation.report.read_text(encoding="utf-8")


def test_a_deployed_model_is_tested_with_its_own_threshold(
    model_files: dict[str, Path], testset: Path, tmp_path: Path
) -> None:
    evaluation = evaluate(model_files["int8"], testset, tmp_path)
    assert evaluation.facts["model"]["kind"] == "tflite"
    assert evaluation.facts["dataset"]["seen"] is None
    assert evaluation.facts["label_threshold"] == 0.55
    with (tmp_path / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    uncertain = np.mean([row["prediction"] == "uncertain" for row in rows])
    assert evaluation.metrics.figures["uncertain"].value == pytest.approx(uncertain)
    assert "Accuracy when decided" in evaluation.report.read_text(encoding="utf-8")


def test_a_softmax_network_is_measured_on_its_two_scores(
    tiny_network: keras.Model, testset: Path, tmp_path: Path
) -> None:
    features = tiny_network.get_layer("logit").input
    three = keras.layers.Dense(3, name="logit")(features)
    scores = keras.layers.Activation("softmax", name="scores")(three)
    network = keras.Model(tiny_network.inputs, scores)
    network.save(tmp_path / "model.keras")
    evaluate(tmp_path, testset, tmp_path / "out")
    crops = load(testset, 32).crops
    sad, happy, _ = network.predict(crops, verbose=0).astype(float).T
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        found = [float(row["probability"]) for row in csv.DictReader(file)]
    assert found == pytest.approx(happy / (happy + sad), abs=1e-4)


def test_a_second_test_replaces_the_first(run: Path, testset: Path, tmp_path: Path) -> None:
    first = evaluate(run / "model.keras", testset, tmp_path)
    written = (tmp_path / "metrics.json").read_bytes()
    assert evaluate(run, testset, tmp_path).metrics == first.metrics
    assert (tmp_path / "metrics.json").read_bytes() == written


def test_strict_refuses_unreadable_images(run: Path, testset: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        evaluate(run, testset, tmp_path, strict=True)


def test_files_that_are_not_models_are_refused_by_name(testset: Path, tmp_path: Path) -> None:
    (tmp_path / "model.h5").touch()
    with pytest.raises(ModelError, match=r"model\.h5: not a model"):
        evaluate(tmp_path / "model.h5", testset, tmp_path)
    with pytest.raises(ModelError, match="no such model"):
        evaluate(tmp_path, testset, tmp_path)
    with pytest.raises(ModelError, match="cannot be read"):
        evaluate(tmp_path / "missing.tflite", testset, tmp_path)


def test_a_diverged_model_is_refused(
    tiny_network: keras.Model, testset: Path, tmp_path: Path
) -> None:
    broken = keras.models.clone_model(tiny_network)
    broken.set_weights([np.full_like(weight, np.nan) for weight in tiny_network.get_weights()])
    broken.save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match="24 of 24 outputs are NaN"):
        evaluate(tmp_path, testset, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_command_line(run: Path, testset: Path) -> None:
    app = typer.Typer()
    register(app)
    result = CliRunner().invoke(app, [str(run), str(testset)])
    assert result.exit_code == 1  # one image was skipped
    assert "Accuracy" in result.stdout
    report = run / "evaluation-faces <test>" / "report.html"
    assert report.is_file()
    assert str(report) in result.stdout

    result = CliRunner().invoke(app, [str(run), str(testset), "--json"])
    assert json.loads(result.stdout) == json.loads(
        report.with_name("metrics.json").read_text(encoding="utf-8")
    )

    assert "data:image/jpeg" in report.read_text("utf-8")
    (testset / "groups.csv").write_text("path,group\nhappy/face_00001.png,anna\n")
    try:
        result = CliRunner().invoke(app, [str(run), str(testset), "--by", "group"])
    finally:
        (testset / "groups.csv").unlink()
    assert "By group" in result.stdout and "anna" in result.stdout
    result = CliRunner().invoke(app, [str(run), str(run), str(testset), "--by", "group"])
    assert result.exit_code == 2 and "--by" in result.output
    result = CliRunner().invoke(app, [str(run), str(testset), "--no-images"])
    assert "data:image/jpeg" not in report.read_text("utf-8"), "no face is shown"
    assert not report.with_name("mistakes.png").exists()


def test_a_model_without_a_dataset_is_refused(run: Path) -> None:
    app = typer.Typer()
    register(app)
    result = CliRunner().invoke(app, [str(run)])
    assert isinstance(result.exception, HappysadError)
    assert "give a model and a dataset" in str(result.exception)
