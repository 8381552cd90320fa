"""Open either kind of model for a test: a Keras network, or a .tflite file as it is deployed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from happysad.cores import cores
from happysad.errors import ModelError
from happysad.evaluation.metrics import Band


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to be tested.

    Attributes:
        path: Its file.
        input_size: Side of the crops, pixels.
        threshold: Probabilities from here up count as happy.
        band: Its uncertain band, or None.
        score: ``uint8 [N, S, S, 3]`` → P(happy), ``float32 [N]``.
        network: The ``keras.Model``, for heat maps, or None.
    """

    path: Path
    input_size: int
    threshold: float
    band: Band | None
    score: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
    network: Any


def open_model(path: Path) -> LoadedModel:
    """Open a run directory (its ``model.keras``), a ``.keras`` file or a ``.tflite`` file.

    A Keras network is tested at threshold 0.5 and without a band; calibration, threshold and band
    come with the export.

    Raises:
        ModelError: It is none of these, missing or damaged.
    """
    file = path / "model.keras" if path.is_dir() else path
    if file.suffix == ".tflite":
        # Each kind's runtime takes its time to import, and the other kind does not need it.
        from happysad.classifier import Classifier

        classifier = Classifier(file, threads=cores())
        info = classifier.info
        band = (1 - info.threshold, info.threshold)
        return LoadedModel(file, info.input_size, 0.5, band, classifier.probabilities, None)
    if file.suffix != ".keras":
        raise ModelError(f"{path}: not a model; give a run directory, a .keras or a .tflite file")
    from happysad.training.network import load_network

    network = load_network(file)

    def score(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        outputs = np.asarray(network.predict_on_batch(crops), dtype=np.float32)
        if outputs.shape[1] == 1:
            return outputs[:, 0]
        return np.asarray(outputs[:, 1] / np.maximum(outputs[:, :2].sum(axis=1), 1e-9))

    return LoadedModel(file, int(network.input_shape[1]), 0.5, None, score, network)
