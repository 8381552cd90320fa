"""The run directory: everything about one training, in files that people and programs read."""

import csv
import json
import os
import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from happysad import __version__
from happysad.errors import RecipeError
from happysad.files import atomic, atomic_text
from happysad.training.checkpoint import Epoch
from happysad.training.recipe import Recipe, read_recipe, recipe_toml


class Run:
    """The paths of a run directory, and how its small files are written and read.

    ``recipe.toml``, ``environment.json``, ``split.csv`` (manifest), ``skipped.csv``,
    ``augmented.png``, ``history.csv``, ``curves.png``, ``checkpoint.npz`` while training goes
    on, and ``model.keras`` once it is finished.
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
        return self.model.is_file()

    def begin(self, recipe: Recipe, dataset: Path, resume: bool) -> None:
        """Claim the directory: write recipe and environment, or check them when resuming.

        Raises:
            RecipeError: The directory holds another run, or one by another recipe.
        """
        if self.recipe_file.is_file() and resume:
            if read_recipe(str(self.recipe_file)) != recipe:
                raise RecipeError(
                    f"{self.path} was begun with another recipe ({self.recipe_file}); "
                    "resume with the same options, or give another --out"
                )
            return
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            # A run killed in its first instant has left nothing but unfinished files.
            left = [] if not self.path.is_dir() else [p.name for p in self.path.iterdir()]
            if not resume or any(not name.endswith(".partial.toml") for name in left):
                raise RecipeError(
                    f"{self.path} exists: give another --out, or --resume to go on with it"
                )
        atomic_text(self.recipe_file, recipe_toml(recipe))
        atomic_text(self.environment_file, json.dumps(_environment(dataset), indent=2))

    def environment(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.environment_file.read_text("utf-8"))
        return values

    def note(self, **facts: Any) -> None:
        """Add facts to environment.json."""
        atomic_text(
            self.environment_file, json.dumps(self.environment() | facts, indent=2, default=str)
        )

    def recipe(self) -> Recipe:
        return read_recipe(str(self.recipe_file))

    def write_history(self, history: list[Epoch]) -> None:
        with atomic(self.history) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(asdict(history[0])))
            writer.writeheader()
            writer.writerows(asdict(row) for row in history)


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
