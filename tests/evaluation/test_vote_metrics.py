import csv
import json
from pathlib import Path

import numpy as np
import pytest

from happysad.dataset.synthetic import make_dataset
from happysad.errors import DatasetError
from happysad.evaluation.evaluate import evaluate
from happysad.evaluation.votes import most_contested, vote_metrics
from happysad.released import FOLDER, MODEL
from happysad.training.targets import mostly_happy_or_sad

SHARES = np.array(
    [(1, 0, 0), (0.6, 0.1, 0.3), (0, 0.9, 0.1), (0.1, 0.5, 0.4), (0.2, 0.1, 0.7), (0, 0, 1)]
)
SCORES = np.array([(0.9, 0), (0.2, 0.3), (0, 0.9), (0.1, 0.5), (0.5, 0.1), (0.1, 0.2)])


def test_metrics_by_votes() -> None:
    metrics = vote_metrics(SHARES, SCORES, threshold=0.4)
    assert metrics.clear == 3
    assert metrics.clear_accuracy == pytest.approx(2 / 3)
    assert metrics.clear_balanced_accuracy == pytest.approx(0.75)
    assert metrics.clear_roc_auc == 1
    assert metrics.clear_uncertain == pytest.approx(1 / 3)
    assert (metrics.mostly, metrics.mostly_accuracy) == (4, 0.75)
    assert (metrics.neither, metrics.neither_happy, metrics.neither_sad) == (2, 0, 0.5)


def test_a_tie_counts_as_happy_as_in_training() -> None:
    shares = np.array([(0.5, 0.5, 0), (0.4, 0.4, 0.2), (0.35, 0.25, 0.4)])
    metrics = vote_metrics(shares, np.array([(0.2, 0.8)] * 3), None)
    assert (metrics.mostly, metrics.mostly_accuracy) == (2, 1)
    two, labels = mostly_happy_or_sad(shares)
    assert (two.tolist(), labels.tolist()) == ([True, True, False], [1, 1])


def test_perfect_scores_are_calibrated() -> None:
    metrics = vote_metrics(SHARES, SHARES[:, :2], threshold=0.4)
    assert metrics.calibration_happy == metrics.calibration_sad == 0
    assert metrics.clear_accuracy == metrics.mostly_accuracy == 1


def test_metrics_without_faces_are_undefined() -> None:
    metrics = vote_metrics(np.array([(0.0, 0.0, 1.0)]), np.array([(0.1, 0.1)]), None)
    assert metrics.clear_accuracy is metrics.clear_roc_auc is metrics.mostly_accuracy is None


def test_the_most_contested_come_first() -> None:
    assert most_contested(SHARES, 2) == [3, 1]
    assert 0 not in most_contested(SHARES, 6)


def test_an_image_that_only_the_votes_concern_is_skipped_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    make_dataset(folder, 12, seed=1)
    (folder / "other" / "calm").mkdir(parents=True)
    (folder / "other" / "calm" / "a.png").write_bytes(b"not an image")
    (folder / "sad" / "b.png").write_bytes(b"not an image")
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.png"))]
    rows = [f"{name},1,0,{9 * name.startswith('other')}\n" for name in names]
    (folder / "votes.csv").write_text("path,happy,sad,neutral\n" + "".join(rows))
    done = evaluate(FOLDER / MODEL, folder, tmp_path / "out", images=False)
    skipped = [each["path"] for each in done.facts["dataset"]["skipped"]]
    assert skipped == ["other/calm/a.png", "sad/b.png"] and done.skipped == 2
    (folder / "sad" / "b.png").unlink()
    rows = [row for row in rows if "b.png" not in row]
    (folder / "votes.csv").write_text("path,happy,sad,neutral\n" + "".join(rows))
    with pytest.raises(DatasetError, match=r"other/calm/a\.png"):
        evaluate(FOLDER / MODEL, folder, tmp_path / "strict", images=False, strict=True)


def test_a_dataset_with_votes_is_evaluated_by_them(tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    make_dataset(folder, 12, seed=1)
    images = sorted(folder.rglob("*.png"))
    with (folder / "votes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "happy", "sad", "neutral"])
        for i, path in enumerate(images[:-1]):
            happy = path.parent.name == "happy"
            writer.writerow(
                [path.relative_to(folder).as_posix(), 9 * happy, 9 * (not happy), i % 5]
            )
    done = evaluate(FOLDER / MODEL, folder, tmp_path / "out")
    votes = json.loads((tmp_path / "out/metrics.json").read_text())["votes"]
    assert votes == done.facts["votes"]
    assert votes["clear"] == votes["mostly"] == len(images) - 1
    report = done.report.read_text("utf-8")
    assert "By votes" in report and "agree least" in report
    (folder / "votes.csv").unlink()
    done = evaluate(FOLDER / MODEL, folder, tmp_path / "out")
    assert "votes" not in done.facts
    assert "By votes" not in done.report.read_text("utf-8")
    assert not (tmp_path / "out/contested.png").exists()
