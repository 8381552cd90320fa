"""The files of the released model, which come with the package, checked whenever they are read."""

import hashlib
from pathlib import Path
from typing import Final

from happysad.errors import ModelError

FOLDER: Final = Path(__file__).parent / "models"

MODEL: Final = "happysad.tflite"
"""The model that predicts where no other is given, int8."""

WEIGHTS: Final = "happysad-weights.npz"
"""The same network's weights as float16, for training to start from."""

CARD: Final = "model-card.md"

FIGURES: Final = "figures.json"
"""What the model did in its test, as `happysad evaluate` writes figures."""

SUMS: Final = "SHA256SUMS"
"""Lines as ``sha256sum`` writes and checks them."""


def read_released(name: str, folder: Path = FOLDER) -> bytes:
    """Read a file of the released model and check that it is whole.

    Args:
        name: `MODEL` or `WEIGHTS`.
        folder: Where it lies.

    Raises:
        ModelError: It is missing, or is not the file that was released.
    """
    again = "install happysad anew"
    try:
        content = (folder / name).read_bytes()
        sums = (folder / SUMS).read_text("ascii").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{folder / name}: cannot be read ({error}); {again}") from error
    if f"{hashlib.sha256(content).hexdigest()}  {name}" not in sums:
        raise ModelError(f"{folder / name} is damaged (its SHA-256 is not the release's); {again}")
    return content


def write_sums(folder: Path = FOLDER) -> None:
    """Write the sums of a folder's released files."""
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in (MODEL, WEIGHTS)
    ]
    (folder / SUMS).write_text("".join(lines), "ascii")
