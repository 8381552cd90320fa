import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from happysad.export.comparison import MAX_LOSS, Comparison, compare


def test_losses_and_wins_are_counted_on_the_same_images() -> None:
    labels = np.array([1, 1, 0, 0, 1, 0])
    original = np.array([1, 1, 0, 1, 0, 0], bool)
    exported = np.array([1, 0, 1, 0, 0, 0], bool)

    found = compare(original, exported, labels)

    assert (found.images, found.lost, found.won) == (6, 2, 1)
    assert found.loss == pytest.approx(100 / 6)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1))
def test_the_p_value_is_the_binomial_tail(rows: list[tuple[bool, bool, bool]]) -> None:
    original, exported, labels = (np.array(column) for column in zip(*rows, strict=True))

    found = compare(original, exported, labels.astype(np.uint8))

    tail = binom.sf(found.lost - 1, found.lost + found.won, 0.5)
    assert found.p_value == pytest.approx(tail)
    assert found.acceptable or found.loss > MAX_LOSS


@pytest.mark.parametrize(
    ("images", "lost", "won", "acceptable"),
    [
        (100, 3, 0, True),  # 3 points, but three images may be due to chance.
        (100, 5, 0, False),
        (10_000, 49, 0, True),  # Significant, but under half a point.
        (10_000, 60, 5, False),
        (1_000, 40, 34, True),  # 0.6 points among many differences: due to chance.
    ],
)
def test_a_loss_has_to_be_large_and_significant(
    images: int, lost: int, won: int, acceptable: bool
) -> None:
    labels = np.ones(images, np.uint8)
    original, exported = np.ones(images, bool), np.ones(images, bool)
    exported[:lost] = False
    original[lost : lost + won] = False

    assert compare(original, exported, labels).acceptable is acceptable


def test_a_small_split_states_the_detectable_loss() -> None:
    assert Comparison(100, 0, 0, 1.0).detectable == 5.0
    assert Comparison(2, 0, 0, 1.0).detectable == 100.0
