"""Several models on one dataset."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from web import accessibility_violations, chromium

from happysad.classifier import Precision
from happysad.errors import HappysadError
from happysad.evaluation.compare import _names, compare_models
from happysad.evaluation.metrics import compute_metrics, paired_difference
from happysad.released import FOLDER, MODEL

Files = dict[Precision, Path]


def test_a_paired_interval_is_narrower_than_two_intervals() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    first = np.clip(0.5 + (labels - 0.5) * 0.5 + rng.normal(0, 0.3, 400), 0, 1)
    other = np.clip(first + rng.normal(0, 0.05, 400), 0, 1)

    difference = paired_difference(labels, first, other)

    before, after = (compute_metrics(labels, p).figures for p in (first, other))
    for name, estimate in difference.metrics.items():
        values = [figures[name].value for figures in (before, after)]
        assert values[0] is not None and values[1] is not None
        assert estimate.value == pytest.approx(values[1] - values[0], abs=1e-9), name
    auc, low, high = (getattr(difference.metrics["roc_auc"], n) for n in ("value", "low", "high"))
    assert low <= auc <= high
    unpaired = before["roc_auc"].high - before["roc_auc"].low  # type: ignore[operator]
    assert high - low < unpaired / 2
    wrong = [(p >= 0.5) != labels.astype(bool) for p in (first, other)]
    assert difference.only_first == int((~wrong[0] & wrong[1]).sum())
    assert difference.only_this == int((wrong[0] & ~wrong[1]).sum())


def test_a_model_does_not_differ_from_itself() -> None:
    labels = np.array([0, 1] * 20)
    p = np.linspace(0, 1, 40)

    difference = paired_difference(labels, p, p)

    assert (difference.only_first, difference.only_this) == (0, 0)
    assert all((e.value, e.low, e.high) == (0, 0, 0) for e in difference.metrics.values())


def test_models_are_compared_image_by_image(
    model_files: Files, faces: Path, tmp_path: Path
) -> None:
    out = tmp_path / "comparison"
    models = [FOLDER / MODEL, model_files["float32"], model_files["int8"]]
    command = [sys.executable, "-m", "happysad", "evaluate", *models, faces, "--out", out]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("against happysad") == 2
    facts = json.loads((out / "comparison.json").read_text("utf-8"))
    names = [model["name"] for model in facts["models"]]
    assert len(set(names)) == 3
    for name in names:
        assert (out / name / "report.html").is_file()
    first, *others = facts["figures"]["accuracy"]
    for value, difference in zip(others, facts["differences"], strict=True):
        count = facts["dataset"]["happy"] + facts["dataset"]["sad"]
        gained = (difference["only_this"] - difference["only_first"]) / count
        assert difference["metrics"]["accuracy"]["value"] == pytest.approx(value - first)
        assert gained == pytest.approx(value - first)
    page = (out / "comparison.html").read_text("utf-8")
    assert all(f'href="{name}/report.html"' in page for name in names)
    assert ("data:image/png" in page) is (out / "differences.png").is_file()
    with chromium() as browser:
        tab = browser.new_page()
        tab.goto((out / "comparison.html").as_uri())
        assert not accessibility_violations(tab)


def test_comparisons_without_images_show_none(
    model_files: Files, faces: Path, tmp_path: Path
) -> None:
    models = [FOLDER / MODEL, model_files["float32"]]

    comparison = compare_models(models, faces, tmp_path, images=False)

    assert "data:image" not in comparison.report.read_text("utf-8")
    assert not (tmp_path / "differences.png").exists()


def test_one_model_given_twice_is_refused(model_files: Files, faces: Path, tmp_path: Path) -> None:
    path = model_files["float32"]
    with pytest.raises(HappysadError, match="is given twice"):
        compare_models([path, path.parent / "." / path.name], faces, tmp_path)
    with pytest.raises(HappysadError, match=r"float32\.tflite: is given twice"):
        compare_models([model_files["int8"], path, path], faces, tmp_path)


def test_each_model_has_a_folder_of_its_own(
    model_files: Files, coloured_run: Path, faces: Path, tmp_path: Path
) -> None:
    models = [tmp_path / n for n in ("a/model.keras", "a/model.tflite", "b/model.keras")]
    for model in models:
        model.parent.mkdir(exist_ok=True)
        source = coloured_run if model.suffix == ".keras" else model_files["float32"].parent
        shutil.copy(next(source.glob(f"model*{model.suffix}")), model)

    comparison = compare_models(models, faces, tmp_path / "out", images=False)

    reports = [each.report for each in comparison.evaluations]
    assert len({*comparison.names}) == len({*reports}) == 3
    assert all(report.parent.parent == tmp_path / "out" for report in reports)


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (
            ["/r/a/m.keras", "/r/a/m.tflite", "/r/b/m.keras"],
            ("a-m.keras", "a-m.tflite", "b-m.keras"),
        ),
        (["/model.keras", "/run/model.keras"], ("model", "run-model")),
        (["/a-b/c", "/a/b-c", "/d/c", "/d/b-c"], ("1-c", "2-b-c", "3-c", "4-b-c")),
        (["/runs/lr-0.01", "/runs/lr-0.001"], ("lr-0.01", "lr-0.001")),
    ],
)
def test_names_are_as_short_as_they_can_be(models: list[str], names: tuple[str, ...]) -> None:
    assert _names([Path(model) for model in models]) == names
