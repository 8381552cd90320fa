"""Every error that happysad raises on purpose.

    HappysadError
    ├── ImageError     an image that cannot be read, or is refused
    ├── DatasetError   a dataset that cannot be trained or tested on
    ├── RecipeError    a recipe with an unknown name or a value out of range
    ├── ModelError     a model file that is missing, damaged or not happysad's
    └── StoreError     an object store that does not answer

The message is one line: what was wrong, with what, and what to do. The command line prints it
and exits with status 2.
"""


class HappysadError(Exception):
    """Base class: catch it to catch everything that happysad raises on purpose."""


class ImageError(HappysadError):
    """An image cannot be read, or is larger than allowed."""


class DatasetError(HappysadError):
    """A dataset cannot be read, split, trained on or tested on."""


class RecipeError(HappysadError):
    """A recipe has an unknown name or a value out of range."""


class ModelError(HappysadError):
    """A model file is missing, damaged, or was not made by happysad."""


class StoreError(HappysadError):
    """An object store does not answer, or lets nobody in: trying again later may help."""
