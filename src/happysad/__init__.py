"""Classify faces as happy or sad.

>>> from happysad import Detector
>>> detector = Detector()
>>> for p in detector.predict("party.jpg"):
...     print(p.label, p.scores, p.face.box)
"""

from typing import TYPE_CHECKING, Any

from happysad.errors import DatasetError, HappysadError, ImageError, ModelError, RecipeError

if TYPE_CHECKING:
    from happysad.classifier import Classifier
    from happysad.detector import Detector
    from happysad.image import read_image
    from happysad.prediction import Face, ImageResult, Prediction, Scores

__version__ = "0.1.0"

__all__ = [
    "Classifier",
    "DatasetError",
    "Detector",
    "Face",
    "HappysadError",
    "ImageError",
    "ImageResult",
    "ModelError",
    "Prediction",
    "RecipeError",
    "Scores",
    "read_image",
]

_HOME = {
    "Classifier": "classifier",
    "Detector": "detector",
    "Face": "prediction",
    "ImageResult": "prediction",
    "Prediction": "prediction",
    "Scores": "prediction",
    "read_image": "image",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: `import happysad` stays free of NumPy, Pillow and LiteRT.
    if name not in _HOME:
        raise AttributeError(f"module 'happysad' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"happysad.{_HOME[name]}"), name)
