import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from happysad.errors import DatasetError
from happysad.evaluation.bootstrap import weighted_values
from happysad.evaluation.metrics import Metrics, calibration_error, compute_metrics

Labels = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float64]
Answers = tuple[Labels, Probabilities]


@st.composite
def answers(draw: st.DrawFn) -> Answers:
    """Both classes, ties, and probabilities that fall on no bin's edge."""
    pair = st.tuples(st.integers(0, 1), st.integers(0, 999))
    rows = draw(st.lists(pair, min_size=1, max_size=60))
    labels = [0, 1, *(label for label, _ in rows)]
    steps = [draw(st.integers(0, 999)), draw(st.integers(0, 999)), *(step for _, step in rows)]
    return np.array(labels, np.uint8), (np.array(steps) + 0.5) / 1000


def drawn_answers(count: int, seed: int = 0) -> Answers:
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < 0.58).astype(np.uint8)
    return labels, 1 / (1 + np.exp(-rng.normal(labels * 4.0 - 2, 2)))


def values(metrics: Metrics) -> dict[str, float | None]:
    return {name: estimate.value for name, estimate in metrics.figures.items()}


@given(answers(), st.sampled_from([0.3, 0.5, 0.9]))
@settings(deadline=None, max_examples=60)
def test_the_metrics_equal_those_of_scikit_learn(data: Answers, threshold: float) -> None:
    labels, p = data
    called = p >= threshold
    uncertain = (p >= 0.4) & (p <= 0.6)
    metrics = compute_metrics(labels, p, threshold, uncertain, bootstrap=1)
    found = values(metrics)
    expected = {
        "accuracy": sk.accuracy_score(labels, called),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, called),
        "roc_auc": sk.roc_auc_score(labels, p),
        "average_precision": sk.average_precision_score(labels, p),
        "log_loss": sk.log_loss(labels, p),
        "brier": sk.brier_score_loss(labels, p),
        "ece": calibration_error(labels, p),
        "uncertain": uncertain.mean(),
    }
    scores = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}
    for name, score in scores.items():
        for number, label in enumerate(("sad", "happy")):
            expected[f"{name}_{label}"] = score(labels, called, pos_label=number, zero_division=0)
        expected[f"{name}_macro"] = score(labels, called, average="macro", zero_division=0)
    if not uncertain.all():
        decided = ~uncertain
        expected["decided_accuracy"] = sk.accuracy_score(labels[decided], called[decided])
    assert found.keys() == expected.keys() | {"decided_accuracy"}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    assert metrics.confusion == tuple(map(tuple, sk.confusion_matrix(labels, called)))


@given(answers(), st.integers(0, 10))
@settings(deadline=None, max_examples=60)
def test_weights_are_repetitions(data: Answers, seed: int) -> None:
    labels, p = data
    weights = np.random.default_rng(seed).integers(0, 4, len(p))
    weights[:2] = 1  # one of each class
    fast = weighted_values(labels, p, weights[None].astype(float), 0.5, None)
    repeated = compute_metrics(labels.repeat(weights), p.repeat(weights), bootstrap=1)
    for name, value in values(repeated).items():
        assert fast[name][0] == pytest.approx(value), name


@given(answers())
@settings(deadline=None, max_examples=60)
def test_figures_stay_within_bounds_and_intervals_hold_them(data: Answers) -> None:
    metrics = compute_metrics(*data, uncertain=abs(data[1] - 0.5) < 0.05, bootstrap=50)
    for name, estimate in metrics.figures.items():
        if estimate.value is not None and estimate.low is not None and estimate.high is not None:
            assert 0 <= estimate.low <= estimate.value <= estimate.high, name
            assert name == "log_loss" or estimate.high <= 1 + 1e-12, name


@given(answers())
@settings(deadline=None, max_examples=60)
def test_swapping_the_classes_changes_nothing_but_their_names(data: Answers) -> None:
    labels, p = data
    here = values(compute_metrics(labels, p, bootstrap=1))
    there = values(compute_metrics(1 - labels, 1 - p, bootstrap=1))
    for name in (
        "accuracy",
        "balanced_accuracy",
        "f1_macro",
        "roc_auc",
        "log_loss",
        "brier",
        "ece",
    ):
        assert there[name] == pytest.approx(here[name]), name
    assert there["recall_sad"] == pytest.approx(here["recall_happy"])


def test_calibration_error_is_the_gap_between_probability_and_frequency() -> None:
    # Three in four are happy at 0.9, none at 0.1.
    labels, p = [1, 1, 1, 0, 0, 0, 0, 0], [0.9] * 4 + [0.1] * 4
    assert calibration_error(labels, p) == pytest.approx((0.15 + 0.1) / 2)
    assert calibration_error([0, 1], [0.0, 1.0]) == 0


def test_intervals_shrink_with_more_images() -> None:
    widths = []
    for count in (100, 3000):
        accuracy = compute_metrics(*drawn_answers(count)).figures["accuracy"]
        assert accuracy.low is not None and accuracy.high is not None
        widths.append(accuracy.high - accuracy.low)
    assert widths[1] < widths[0] / 3


def test_the_seed_decides_the_intervals() -> None:
    data = drawn_answers(200)
    assert compute_metrics(*data, seed=1) == compute_metrics(*data, seed=1)
    assert compute_metrics(*data, seed=1) != compute_metrics(*data, seed=2)


@pytest.mark.parametrize("label", [0, 1])
def test_metrics_of_both_classes_are_undefined_with_one_class(label: int) -> None:
    metrics = compute_metrics(np.full(20, label), np.linspace(0.1, 0.9, 20), bootstrap=20)
    for name in ("roc_auc", "average_precision", "balanced_accuracy", "f1_macro"):
        assert metrics.figures[name].value is None
        assert metrics.figures[name].low is None
    assert metrics.figures[f"recall_{('happy', 'sad')[label]}"].value is None
    assert metrics.figures["accuracy"].value == 0.5


def test_uncertain_images_are_counted_apart() -> None:
    labels, p = np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.4, 0.6])
    found = values(compute_metrics(labels, p, uncertain=[False, False, True, True], bootstrap=5))
    assert found["accuracy"] == 0.5
    assert found["uncertain"] == 0.5
    assert found["decided_accuracy"] == 1


def test_no_accuracy_when_decided_where_all_is_uncertain() -> None:
    found = values(compute_metrics([0, 1], [0.4, 0.6], uncertain=[True, True], bootstrap=5))
    assert found["uncertain"] == 1
    assert found["decided_accuracy"] is None


def test_counts_by_class() -> None:
    metrics = compute_metrics([0, 0, 0, 1], [0.2, 0.7, 0.1, 0.8], bootstrap=5)
    assert metrics.confusion == ((2, 1), (0, 1))
    assert (metrics.sad, metrics.happy, metrics.count) == (3, 1, 4)


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(DatasetError, match="empty"):
        compute_metrics([], [])
