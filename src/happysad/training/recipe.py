"""Training recipes, read from and written to TOML."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, get_type_hints

import tomli_w

from happysad.errors import RecipeError

PACKAGED: Final = ("seed", "fine-tune", "adapt", "drawings")
LAYERS: Final = ("head", "all", *(f"block_{i}" for i in range(1, 17)))
OUTPUTS: Final = ("sigmoid", "softmax")
SCHEDULES: Final = ("constant", "cosine")


def _in(low: float, high: float, default: Any) -> Any:
    """Declare a field with an inclusive range."""
    return field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True)
class Augmentation:
    """Data augmentation of training crops; ``0`` turns a transformation off.

    Attributes:
        rotation: Largest rotation to either side, degrees.
        zoom: Largest change of scale, as a fraction: 0.2 draws from 0.8 to 1.2.
        translation: Largest shift, as a fraction of the side.
        flip: Probability of a horizontal flip.
        brightness: Largest change, as a fraction of full white.
        contrast: Largest change, as a fraction.
        grey: Probability of conversion to grey.
        blur: Probability of a Gaussian blur.
        low_resolution: Probability of downscaling and upscaling.
        jpeg: Probability of strong JPEG compression.
        noise: Probability of sensor noise.
        occlusion: Probability of random erasing: a rectangle covers a part of the crop.
    """

    rotation: float = _in(0, 180, 0.0)
    zoom: float = _in(0, 0.9, 0.0)
    translation: float = _in(0, 0.5, 0.0)
    flip: float = _in(0, 1, 0.0)
    brightness: float = _in(0, 1, 0.0)
    contrast: float = _in(0, 1, 0.0)
    grey: float = _in(0, 1, 0.0)
    blur: float = _in(0, 1, 0.0)
    low_resolution: float = _in(0, 1, 0.0)
    jpeg: float = _in(0, 1, 0.0)
    noise: float = _in(0, 1, 0.0)
    occlusion: float = _in(0, 1, 0.0)


@dataclass(frozen=True)
class Stage:
    """One training stage.

    Attributes:
        layers: ``"head"`` trains the dense layers on a frozen backbone, ``"all"`` everything,
            ``"block_3"`` all from that block of MobileNetV2 on (1 to 16).
        epochs: Maximum number of epochs.
        learning_rate: Its maximum.
        schedule: ``"constant"``, or ``"cosine"``: cosine decay to a hundredth.
        warmup: Epochs of linear warm-up of the learning rate.
        patience: Epochs without a lower validation loss before early stopping; 0 = never.
        weight_decay: Decoupled weight decay (AdamW); 0 is plain Adam.
        averaging: Decay per step of the exponential moving average of weights; 0 = none.
    """

    layers: str = field(default="head", metadata={"choices": LAYERS})
    epochs: int = _in(1, 10_000, 1)
    learning_rate: float = _in(1e-7, 1, 0.001)
    schedule: str = field(default="constant", metadata={"choices": SCHEDULES})
    warmup: float = _in(0, 100, 0.0)
    patience: int = _in(0, 10_000, 0)
    weight_decay: float = _in(0, 1, 0.0)
    averaging: float = _in(0, 0.99999, 0.0)


@dataclass(frozen=True)
class Recipe:
    """A training recipe.

    Attributes:
        name: Its name, stored in the run and in the model.
        input_size: Side of the crops, pixels.
        weights: ``"imagenet"``, ``"happysad"``, ``"none"``, a run's ``model.keras``, or a weights
            file.
        output: ``"sigmoid"``: P(happy) against P(sad), trained on happy and sad faces and on the
            votes for these two; ``"softmax"``: shares of sad, happy and neither, trained on all
            faces and all votes.
        dense: Widths of the dense ReLU layers after pooling.
        dropout: Fraction dropped after each dense layer.
        batch_size: Crops per step.
        label_smoothing: Share of each target that is spread evenly over all classes.
        class_weights: Weight happy and sad faces so that both classes count the same.
        validation_fraction: Share of the dataset in the validation split.
        images: Use at most this many training images, and a quarter of that for validation;
            0 = all.
        seed: Random seed.
        augmentation: Data augmentation.
        stages: The training stages, in order.
    """

    name: str
    input_size: int = _in(32, 512, 96)
    weights: str = "imagenet"
    output: str = field(default="sigmoid", metadata={"choices": OUTPUTS})
    dense: tuple[int, ...] = (128,)
    dropout: float = _in(0, 0.95, 0.3)
    batch_size: int = _in(1, 4096, 64)
    label_smoothing: float = _in(0, 0.5, 0.0)
    class_weights: bool = False
    validation_fraction: float = _in(0.01, 0.9, 0.2)
    images: int = _in(0, 10**9, 0)
    seed: int = _in(0, 2**32 - 1, 0)
    augmentation: Augmentation = Augmentation()
    stages: tuple[Stage, ...] = (Stage(),)

    @property
    def others(self) -> bool:
        """Whether faces that are neither happy nor sad take part."""
        return self.output == "softmax"

    def quick(self) -> "Recipe":
        """Return a smoke test of the recipe (about a minute): few epochs, small crops."""
        stages = tuple(
            replace(
                stage, epochs=min(stage.epochs, 2 if stage.layers == "head" else 16), warmup=0.5
            )
            for stage in self.stages
        )
        return replace(
            self,
            input_size=min(self.input_size, 64),
            batch_size=min(self.batch_size, 16),
            images=min(self.images or 400, 400),
            stages=stages,
        )


def read_recipe(source: str) -> Recipe:
    """Read a bundled recipe by name, or a TOML file.

    Args:
        source: One of `PACKAGED`, or the path of a ``.toml`` file.

    Raises:
        RecipeError: The recipe does not exist, is not valid TOML, or has an unknown name or a value
            out of range.
    """
    if source in PACKAGED:
        text = (files("happysad.training") / "recipes" / f"{source}.toml").read_text("utf-8")
    else:
        path = Path(source)
        if path.suffix != ".toml" or not path.is_file():
            raise RecipeError(
                f"{source}: no such recipe; give one of {', '.join(PACKAGED)}, or a .toml file"
            )
        text = path.read_text("utf-8", errors="replace")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{source}: not valid TOML ({error})") from error
    return recipe_from(values, source)


def recipe_from(values: dict[str, Any], source: str) -> Recipe:
    """Build a recipe from TOML values and check them.

    Args:
        values: The content of a TOML file.
        source: Its name in error messages.

    Raises:
        RecipeError: An unknown name, or a value out of range.
    """
    recipe: Recipe = _build(Recipe, values, source, "")
    return recipe


def recipe_toml(recipe: Recipe) -> str:
    """Write a recipe as TOML, which `read_recipe` reads."""
    return tomli_w.dumps(asdict(recipe))


def _build(kind: type, values: dict[str, Any], source: str, where: str) -> Any:
    types = get_type_hints(kind)
    if unknown := sorted(values.keys() - types.keys()):
        raise RecipeError(f"{source}: unknown name {where}{unknown[0]}; known: {', '.join(types)}")
    if kind is Recipe and "name" not in values:
        raise RecipeError(f'{source}: the recipe has no name; add name = "..."')
    limits = {f.name: f.metadata for f in fields(kind)}
    return kind(
        **{
            name: _check(types[name], limits[name], value, source, where + name)
            for name, value in values.items()
        }
    )


def _check(kind: Any, limits: Mapping[str, Any], value: Any, source: str, at: str) -> Any:
    def refuse(expected: str) -> RecipeError:
        return RecipeError(f"{source}: {at} must be {expected}, not {value!r}")

    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise refuse("a table")
        return _build(kind, value, source, at + ".")
    if kind == tuple[Stage, ...]:
        if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
            raise refuse("a list of stages ([[stages]])")
        return tuple(_build(Stage, v, source, f"{at}[{i}].") for i, v in enumerate(value))
    if kind == tuple[int, ...]:
        if not isinstance(value, list) or not all(type(v) is int and 1 <= v <= 8192 for v in value):
            raise refuse("a list of whole numbers from 1 to 8192")
        return tuple(value)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise refuse(
            {float: "a number", int: "a whole number", bool: "true or false"}.get(kind, "text")
        )
    if "choices" in limits and value not in limits["choices"]:
        raise refuse(f"one of {', '.join(limits['choices'])}")
    low, high = limits.get("range", (value, value))
    if not low <= value <= high:
        raise refuse(f"from {low:g} to {high:g}")
    return value
