"""Names of the classes."""

from typing import Final

NAMES: Final = {
    "sad": 0,
    "sadness": 0,
    "happy": 1,
    "happiness": 1,
    "joy": 1,
}
"""Known class names, in any letter case: name → class number."""


def class_number(name: str) -> int | None:
    """Return 0 for a name of sad, 1 for a name of happy, None for any other name."""
    return NAMES.get(name.strip().casefold())
