"""The recipes that a search tries."""

import numpy as np
import pytest

from happysad.errors import RecipeError
from happysad.training.recipe import read_recipe
from happysad.tuning.space import parse_vary, recipes

BASE = read_recipe("fine-tune")


def test_values_are_tried_in_all_combinations() -> None:
    varied = [parse_vary("dropout=0.2,0.5"), parse_vary("dense=[128],[256, 64]")]
    tried = recipes(BASE, varied)
    assert [(r.dropout, r.dense) for _, r in tried] == [
        (0.2, (128,)),
        (0.2, (256, 64)),
        (0.5, (128,)),
        (0.5, (256, 64)),
    ]
    assert tried[1][0] == {"dropout": 0.2, "dense": [256, 64]}
    assert len(recipes(BASE, varied, trials=3)) == 3


def test_values_of_a_range_are_drawn_reproducibly() -> None:
    varied = [
        parse_vary("stages.1.learning_rate=1e-5..1e-2"),
        parse_vary("batch_size=16..128"),
        parse_vary("stages[1].layers=block_3,all"),
    ]
    drawn = [recipe for _, recipe in recipes(BASE, varied, trials=40)]
    assert drawn == [recipe for _, recipe in recipes(BASE, varied, trials=40)]
    rates = [recipe.stages[1].learning_rate for recipe in drawn]
    assert all(1e-5 <= rate <= 1e-2 for rate in rates)
    assert 5 < sum(rate < 3e-4 for rate in rates) < 35, "as many small ones as large ones"
    assert all(16 <= recipe.batch_size <= 128 for recipe in drawn)
    assert {recipe.stages[1].layers for recipe in drawn} == {"block_3", "all"}
    assert all(recipe.stages[0] == BASE.stages[0] for recipe in drawn)


@pytest.mark.parametrize(
    ("text", "low", "high", "different"),
    [
        ("stages.1.averaging=0.99..0.9999", 0.99, 0.9999, 10),
        ("dropout=0.12345..0.12349", 0.12345, 0.12349, 10),
        ("stages.0.learning_rate=0.012345..0.45678", 0.012345, 0.45678, 10),
    ],
)
def test_drawn_values_are_within_the_range(
    text: str, low: float, high: float, different: int
) -> None:
    vary = parse_vary(text)
    rng = np.random.default_rng(0)
    drawn = [vary.draw(rng) for _ in range(2000)]
    assert all(low <= value <= high for value in drawn)
    assert len(set(drawn)) > different


def test_a_name_varies_only_once() -> None:
    varied = [parse_vary("stages.0.epochs=1,2"), parse_vary("stages[0].epochs=3")]
    with pytest.raises(
        RecipeError, match=r"stages\.0\.epochs: is given twice; give all its values"
    ):
        recipes(BASE, varied)


def test_without_variation_the_recipe_itself_is_tried() -> None:
    assert recipes(BASE, []) == [({}, BASE)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dropout=0.2,3", "dropout must be from 0 to 0.95, not 3"),
        ("dropout=0.2..3", "dropout must be from 0 to 0.95, not 3"),
        ("droput=0.2", "unknown name droput; known: name, input_size"),
        ("stages.1.layers=head,tail", r"stages\[1\].layers must be one of head, all"),
        ("stages.7.epochs=3", "no stage '7'; the recipe has 2 stages, numbered from 0"),
        ("seed=0,1,2", "--vary seed: the validation losses .* cannot be compared; use --seeds"),
        ("output=sigmoid,softmax", "cannot be compared; set it in the recipe"),
        ("validation_fraction=0.1..0.4", "cannot be compared"),
        ("images=100,200", "cannot be compared"),
        ("dropout.rate=0.2", "not the name of a value"),
        ("dropout", "give NAME=A,B,C or NAME=LOW..HIGH"),
        ("dropout=0.5..0.1", "give NAME=A,B,C or NAME=LOW..HIGH"),
    ],
)
def test_invalid_values_are_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        recipes(BASE, [parse_vary(text)])
