"""Loading of models for evaluation: Keras networks and `.tflite` files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from happysad.cores import cores
from happysad.errors import ModelError


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model.

    Attributes:
        path: Its file.
        input_size: Side of the crops, pixels.
        threshold: The score from which a face gets a label, or None if every face gets one.
        scores: ``uint8 [N, S, S, 3]`` → P(sad) and P(happy), ``float32 [N, 2]``.
        network: The ``keras.Model``, for heat maps, or None.
    """

    path: Path
    input_size: int
    threshold: float | None
    scores: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
    network: Any


def open_model(path: Path) -> LoadedModel:
    """Open a run directory (its ``model.keras``), a ``.keras`` file or a ``.tflite`` file.

    A Keras network labels every face; calibration and threshold come with the export.

    Raises:
        ModelError: The file is none of these, is missing or damaged.
    """
    file = path / "model.keras" if path.is_dir() else path
    if file.suffix == ".tflite":
        # Each runtime is slow to import and needed for one kind only.
        from happysad.classifier import Classifier

        classifier = Classifier(file, threads=cores())
        info = classifier.info
        return LoadedModel(file, info.input_size, info.threshold, classifier.scores, None)
    if file.suffix != ".keras":
        raise ModelError(f"{path}: not a model; give a run directory, a .keras or a .tflite file")
    from happysad.training.network import load_network

    network = load_network(file)

    def scores(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        outputs = np.asarray(network.predict_on_batch(crops), dtype=np.float32)
        if outputs.shape[1] == 1:
            return np.hstack([1 - outputs, outputs])
        return outputs[:, :2]

    return LoadedModel(file, int(network.input_shape[1]), None, scores, network)
