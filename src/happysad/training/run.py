"""The run directory: everything about one training, in files that people and programs read."""

import csv
import json
import os
import platform
import sys
from dataclasses import astuple, fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from happysad import __version__
from happysad.errors import RecipeError
from happysad.files import atomic_csv, atomic_text
from happysad.training.checkpoint import Epoch
from happysad.training.recipe import Recipe, read_recipe, recipe_toml


class Run:
    """The paths of a run directory, and how its small files are written and read.

    ``recipe.toml``, ``environment.json`` (versions, dataset, result), ``split.csv`` (manifest),
    ``skipped.csv``, ``augmented.png``, ``history.csv``, ``curves.png``; during the training
    ``checkpoint.npz`` and ``crops.npy``; once it is finished ``curves.svg`` and ``model.keras``.
    If TensorBoard is installed, its logs are in ``tensorboard/``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe_file = path / "recipe.toml"
        self.environment_file = path / "environment.json"
        self.manifest = path / "split.csv"
        self.skipped = path / "skipped.csv"
        self.crops = path / "crops.npy"
        self.augmented = path / "augmented.png"
        self.history = path / "history.csv"
        self.curves = path / "curves.png"
        self.checkpoint = path / "checkpoint.npz"
        self.model = path / "model.keras"

    @property
    def finished(self) -> bool:
        """Whether the training has finished."""
        return self.model.is_file()

    def begin(self, recipe: Recipe, dataset: Path, resume: bool) -> None:
        """Create the run directory, or check it when resuming.

        Raises:
            RecipeError: The directory contains other files, a run of another recipe, or a run that
                is not to be resumed; or the recipe cannot be written.
        """
        if self.model.is_file() or self.checkpoint.is_file():
            if not resume:
                raise RecipeError(
                    f"{self.path}: exists; give another --out, or --resume to continue the run"
                )
            if self.recipe() != recipe:
                raise RecipeError(
                    f"{self.path}: was begun with another recipe ({self.recipe_file}); "
                    "resume with the same options, or give another --out"
                )
            return
        # A run without a finished epoch has nothing to lose and starts over.
        own = {path.name for path in vars(self).values()}
        found = {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()
        if self.path.is_file() or any(n not in own and ".partial" not in n for n in found):
            raise RecipeError(f"{self.path}: exists and is not a run directory; give another --out")
        try:
            recipe.weights.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RecipeError(
                f"{recipe.weights!r}: the name of the weights file is not UTF-8; rename it"
            ) from error
        atomic_text(self.environment_file, json.dumps(_environment(dataset), indent=2))
        atomic_text(self.recipe_file, recipe_toml(recipe))

    def recipe(self) -> Recipe:
        """The recipe of the run."""
        return read_recipe(str(self.recipe_file))

    def facts(self) -> dict[str, Any]:
        """Read environment.json."""
        values: dict[str, Any] = json.loads(self.environment_file.read_text("utf-8"))
        return values

    def note(self, **facts: Any) -> None:
        """Add facts to environment.json."""
        text = json.dumps(self.facts() | facts, indent=2, default=str)
        atomic_text(self.environment_file, text)

    def write_history(self, history: list[Epoch]) -> None:
        """Write history.csv, a row for each epoch."""
        columns = [field.name for field in fields(Epoch)]
        atomic_csv(self.history, columns, map(astuple, history))

    def read_history(self) -> list[Epoch]:
        """Read history.csv; nothing before the first epoch."""
        if not self.history.is_file():
            return []
        with self.history.open(newline="") as file:
            return [
                Epoch(**{name: kind(row[name]) for name, kind in Epoch.__annotations__.items()})
                for row in csv.DictReader(file)
            ]

    def tidy(self) -> None:
        """Remove files that only a running training needs, and temporary files of killed ones."""
        for path in (self.crops, self.checkpoint, *self.path.glob(".*.partial*")):
            path.unlink(missing_ok=True)


def _environment(dataset: Path) -> dict[str, Any]:
    import keras

    packages = {}
    for name in ("keras", "tensorflow", "tensorflow-cpu", "torch", "jax", "numpy", "pillow"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "happysad": __version__,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "dataset": str(dataset.resolve()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "backend": keras.backend.backend(),
        "packages": packages,
    }
