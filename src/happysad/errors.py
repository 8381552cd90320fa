"""Exceptions that happysad raises on purpose.

    HappysadError
    ├── ImageError     an image that cannot be read, or is refused
    ├── DatasetError   a dataset that cannot be used for training or testing
    ├── RecipeError    a recipe with an unknown name or a value out of range
    ├── ModelError     a model file that is missing, damaged or not made by happysad
    └── StoreError     an object store that does not respond

The message is one line: what was wrong, with what, and how to fix it. The command line prints it
and exits with status 2.
"""


class HappysadError(Exception):
    """Base class of all exceptions that happysad raises on purpose."""


class ImageError(HappysadError):
    """An image cannot be read, or is larger than allowed.

    Attributes:
        reason: What is wrong, without the image's name.
        source: The image's path or name; ``"image"`` where it has none.
    """

    def __init__(self, reason: str, source: str = "image") -> None:
        # Both go to Exception, so that the error can be pickled.
        super().__init__(reason, source)
        self.reason = reason
        self.source = source

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


class DatasetError(HappysadError):
    """A dataset cannot be read, split, trained on or tested on."""


class RecipeError(HappysadError):
    """A recipe has an unknown name or a value out of range."""


class ModelError(HappysadError):
    """A model file is missing, damaged, or was not made by happysad."""


class StoreError(HappysadError):
    """An object store does not respond or denies access; retrying later may help."""
