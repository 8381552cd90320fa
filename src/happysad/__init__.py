"""Tell happy faces from sad ones.

>>> from happysad import Classifier, read_image
>>> classifier = Classifier("model-int8.tflite")            # doctest: +SKIP
>>> classifier.predict([read_image("face.jpg")])            # doctest: +SKIP
[Prediction(label='happy', probability=0.98)]
"""

from typing import TYPE_CHECKING, Any

from happysad.errors import DatasetError, HappysadError, ImageError, ModelError, RecipeError

if TYPE_CHECKING:
    from happysad.classifier import Classifier
    from happysad.image import read_image
    from happysad.prediction import Prediction

__version__ = "0.1.0"

__all__ = [
    "Classifier",
    "DatasetError",
    "HappysadError",
    "ImageError",
    "ModelError",
    "Prediction",
    "RecipeError",
    "read_image",
]

_HOME = {"Classifier": "classifier", "Prediction": "prediction", "read_image": "image"}


def __getattr__(name: str) -> Any:
    # Imported on first use: `import happysad` stays free of NumPy, Pillow and LiteRT.
    if name not in _HOME:
        raise AttributeError(f"module 'happysad' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"happysad.{_HOME[name]}"), name)
