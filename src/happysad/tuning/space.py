"""The search space: a recipe and the hyperparameters that vary."""

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np

from happysad.errors import RecipeError
from happysad.training.recipe import Recipe, recipe_from, recipe_toml

TRIALS: Final = 16
"""Default number of recipes drawn where a range is given."""

_INCOMPARABLE: Final = ("output", "seed", "validation_fraction", "images")
"""What the validation loss depends on, whatever was learned: the loss itself, or the split."""

Values = dict[str, Any]


@dataclass(frozen=True)
class Vary:
    """A hyperparameter that varies.

    Attributes:
        name: Its path in the recipe: ``"dropout"``, ``"stages.0.learning_rate"``.
        choices: Its values; the two ends of a range.
        range: Whether values between the ends are drawn: integers if both ends are, and uniform in
            the logarithm if the ends differ by a factor of 10 or more.
    """

    name: str
    choices: tuple[Any, ...]
    range: bool = False

    def draw(self, rng: np.random.Generator) -> Any:
        """Draw a value; fractions are rounded to about a thousandth of it or of the range."""
        if not self.range:
            return self.choices[rng.integers(len(self.choices))]
        low, high = self.choices
        whole = isinstance(low, int) and isinstance(high, int)
        if 0 < 10 * low <= high:
            value = math.exp(rng.uniform(math.log(low), math.log(high)))
            value = round(value) if whole else float(f"{value:.3g}")
        elif whole:
            value = int(rng.integers(low, high + 1))
        else:
            # Digits of the width: those of the value may be the same at both ends.
            digits = 2 - math.floor(math.log10(high - low))
            value = round(float(rng.uniform(low, high)), digits)
        return min(max(value, low), high)


def parse_vary(text: str) -> Vary:
    """Read ``NAME=A,B,C`` or ``NAME=LOW..HIGH``.

    Raises:
        RecipeError: Invalid syntax.
    """
    name, equals, values = text.partition("=")
    name = name.strip().replace("[", ".").replace("]", "")
    low, dots, high = values.partition("..")
    choices = _parse(f"{low},{high}" if dots else values)
    ordered = not dots or (
        len(choices) == 2
        and all(type(end) in (int, float) for end in choices)
        and choices[0] < choices[1]
    )
    if not (name and equals and choices and ordered):
        raise RecipeError(
            f"--vary {text!r}: invalid; give NAME=A,B,C or NAME=LOW..HIGH, such as "
            "stages.0.learning_rate=1e-4..1e-2"
        )
    return Vary(name, choices, bool(dots))


def _parse(text: str) -> tuple[Any, ...]:
    """Parse TOML values; words need no quotes."""
    try:
        return tuple(tomllib.loads(f"values = [{text}]")["values"])
    except tomllib.TOMLDecodeError:
        return tuple(word.strip() for word in text.split(",") if word.strip())


def recipes(
    base: Recipe, varied: Sequence[Vary], trials: int | None = None
) -> list[tuple[Values, Recipe]]:
    """List the recipes to try, each with its values of the varied hyperparameters.

    Args:
        base: The recipe to vary; its seed determines what is drawn.
        varied: What varies; empty for the recipe itself.
        trials: Number of recipes to draw at random; default: all combinations, or `TRIALS` where
            there is a range.

    Raises:
        RecipeError: Unknown name, invalid value, a name that is given twice, or one whose values
            cannot be ranked by validation loss.
    """
    _check_names([vary.name for vary in varied])
    for vary in varied:
        for value in vary.choices:
            with_values(base, {vary.name: value})
    rng = np.random.default_rng(base.seed)
    if any(vary.range for vary in varied):
        drawn = [{vary.name: vary.draw(rng) for vary in varied} for _ in range(trials or TRIALS)]
    else:
        names = [vary.name for vary in varied]
        every = product(*(vary.choices for vary in varied))
        drawn = [dict(zip(names, values, strict=True)) for values in every]
        if trials and trials < len(drawn):
            drawn = [drawn[i] for i in sorted(rng.permutation(len(drawn))[:trials])]
    # A narrow range of integers gives duplicates.
    unique = {with_values(base, values): values for values in drawn}
    return [(values, recipe) for recipe, values in unique.items()]


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(f"--vary {name}: is given twice; give all its values at once")
        if name in _INCOMPARABLE:
            instead = "use --seeds" if name == "seed" else "set it in the recipe"
            raise RecipeError(
                f"--vary {name}: the validation losses of its values cannot be compared; {instead}"
            )


def with_values(base: Recipe, values: Values) -> Recipe:
    """Replace values of a recipe, validated as when a file is read.

    Raises:
        RecipeError: Unknown name or invalid value.
    """
    content = tomllib.loads(recipe_toml(base))
    for name, value in values.items():
        _set(content, name, value)
    return recipe_from(content, "--vary")


def _set(content: Any, name: str, value: Any) -> None:
    *path, last = name.split(".")
    for part in path:
        if isinstance(content, list):
            content = content[_index(content, part, name)]
        elif isinstance(content, dict):
            content = content.setdefault(part, {})
    if not isinstance(content, dict):
        raise RecipeError(f"--vary {name}: not the name of a value in a recipe")
    content[last] = value


def _index(content: list[Any], part: str, name: str) -> int:
    if part.isdecimal() and int(part) < len(content):
        return int(part)
    raise RecipeError(
        f"--vary {name}: no stage {part!r}; the recipe has {len(content)} stages, numbered from 0"
    )
