from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from happysad.errors import RecipeError
from happysad.training.recipe import (
    LAYERS,
    PACKAGED,
    SCHEDULES,
    Augmentation,
    Recipe,
    Stage,
    read_recipe,
    recipe_toml,
)

fraction = st.floats(0, 0.5)
recipes = st.builds(
    Recipe,
    name=st.text(max_size=20),
    input_size=st.integers(32, 512),
    dense=st.lists(st.integers(1, 8192), max_size=3).map(tuple),
    dropout=fraction,
    class_weights=st.booleans(),
    augmentation=st.builds(Augmentation, rotation=st.floats(0, 180), zoom=fraction, flip=fraction),
    stages=st.lists(
        st.builds(
            Stage,
            layers=st.sampled_from(LAYERS),
            epochs=st.integers(1, 99),
            learning_rate=st.floats(1e-6, 1),
            schedule=st.sampled_from(SCHEDULES),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
)


@given(recipes)
def test_a_recipe_survives_being_written_and_read(
    tmp_path_factory: pytest.TempPathFactory, recipe: Recipe
) -> None:
    file = tmp_path_factory.mktemp("recipe") / "r.toml"
    file.write_text(recipe_toml(recipe), encoding="utf-8")
    assert read_recipe(str(file)) == recipe


def test_the_seed_recipe_has_the_documented_settings() -> None:
    recipe = read_recipe("seed")
    assert (recipe.input_size, recipe.weights, recipe.validation_fraction) == (224, "imagenet", 0.2)
    assert recipe.dense and recipe.dropout > 0
    (stage,) = recipe.stages
    assert (stage.layers, stage.learning_rate, stage.epochs) == ("head", 0.01, 30)
    assert stage.patience > 0 and stage.schedule == "constant" and stage.weight_decay == 0
    varied = {name for name, value in vars(recipe.augmentation).items() if value}
    assert varied == {"rotation", "zoom", "flip"}


@pytest.mark.parametrize("name", PACKAGED)
def test_every_packaged_recipe_reads_and_has_a_quick_form(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.name == name
    quick = recipe.quick()
    assert sum(stage.epochs for stage in quick.stages) <= 18
    assert quick.images <= 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 'x'\nepoch = 3", "unknown name epoch"),
        ("name = 'x'\n[augmentation]\nrotate = 3", "unknown name augmentation.rotate"),
        ("name = 'x'\n[[stages]]\nlr = 3", r"unknown name stages\[0\].lr"),
        ("name = 'x'\ndropout = 1.5", "dropout must be from 0 to 0.95, not 1.5"),
        ("name = 'x'\ndropout = nan", "dropout must be from 0 to 0.95"),
        ("name = 'x'\ninput_size = 96.5", "input_size must be a whole number"),
        ("name = 'x'\nclass_weights = 1", "class_weights must be true or false"),
        ("name = 'x'\ndense = [0]", "dense must be a list of whole numbers"),
        ("name = 'x'\nstages = []", "stages must be a list of stages"),
        ("name = 'x'\n[[stages]]\nlayers = 'some'", "layers must be one of head, all, block_1"),
        ("name = 'x'\naugmentation = 3", "augmentation must be a table"),
        ("name = 'x'\noutput = 'relu'", "output must be one of sigmoid, softmax"),
        ("input_size = 96", "has no name; add name"),
        ("name = ", "not valid TOML"),
    ],
)
def test_a_wrong_recipe_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "r.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=message):
        read_recipe(str(file))


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(RecipeError, match="seed, fine-tune"):
        read_recipe("sead")


def test_quick_keeps_smaller_values() -> None:
    recipe = replace(read_recipe("seed"), input_size=32, images=10)
    assert (recipe.quick().input_size, recipe.quick().images) == (32, 10)
