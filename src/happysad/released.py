"""The bundled model's files, verified on every read."""

import hashlib
from pathlib import Path
from typing import Final

from happysad.errors import ModelError

FOLDER: Final = Path(__file__).parent / "models"

MODEL: Final = "happysad.tflite"
"""The default model, int8."""

FACES: Final = "faces.tflite"
"""The face detector."""

WEIGHTS: Final = "happysad-weights.npz"
"""The same network's weights as float16, for fine-tuning."""

CARD: Final = "model-card.md"

FIGURES: Final = "figures.json"
"""The model's test metrics, as `happysad evaluate` writes them."""

SUMS: Final = "SHA256SUMS"
"""Checksums in the format of ``sha256sum``."""


def read_released(name: str, folder: Path = FOLDER) -> bytes:
    """Read a bundled file and verify its checksum.

    Args:
        name: `MODEL`, `FACES` or `WEIGHTS`.
        folder: The folder that contains it.

    Raises:
        ModelError: It is missing, or does not match its checksum.
    """
    again = "reinstall happysad"
    try:
        content = (folder / name).read_bytes()
        sums = (folder / SUMS).read_text("ascii").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{folder / name}: cannot be read ({error}); {again}") from error
    if f"{hashlib.sha256(content).hexdigest()}  {name}" not in sums:
        raise ModelError(f"{folder / name} is damaged (SHA-256 mismatch); {again}")
    return content


def write_sums(folder: Path = FOLDER) -> None:
    """Write the checksums of a folder's model files."""
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in (MODEL, FACES, WEIGHTS)
    ]
    (folder / SUMS).write_text("".join(lines), "ascii")
