"""The classifier: one `.tflite` file, checked when it is loaded, run on batches of crops."""

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from happysad.concurrency import PerThread
from happysad.errors import ModelError
from happysad.prediction import LABELS, Label, Scores
from happysad.released import MODEL, read_released

Precision = Literal["float32", "float16", "dynamic", "int8"]
PRECISIONS: Final[tuple[Precision, ...]] = ("float32", "float16", "dynamic", "int8")

INFO_FILE: Final = "happysad.json"
"""The member of the zip archive at the end of a model file that holds its `ModelInfo`."""

SCHEMA: Final = 2


@dataclass(frozen=True)
class ModelInfo:
    """Metadata embedded in a model file.

    Attributes:
        input_size: Side of the crops, pixels.
        crop_margin: Side of the square crop as a multiple of the longer side of the face's box.
        crop_level: Whether crops are rotated so that the eyes are level.
        output: ``"sigmoid"``: the two scores add up to 1; ``"softmax"``: what is missing to 1 is
            the share of people who would call the face neither happy nor sad.
        threshold: The score from which a face is labelled happy or sad, 0–1.
        temperature: Divisor of the logits inside the graph, which calibrates the scores.
        precision: How the weights are stored.
        recipe: Name of the recipe it was trained with.
        data_fingerprint: SHA-256 of the training data's contents and labels.
        happysad: Version that exported the file.
        created: Date of the export, ISO 8601.
    """

    input_size: int
    crop_margin: float
    crop_level: bool
    output: Literal["sigmoid", "softmax"]
    threshold: float
    temperature: float
    precision: Precision
    recipe: str
    data_fingerprint: str
    happysad: str
    created: str


class Classifier:
    """Classifies crops with a `.tflite` file made by `happysad export`.

    A classifier may be used from several threads and may be pickled: each thread and each process
    has an interpreter of its own, because LiteRT interpreters must not be shared.

        >>> classifier = Classifier("model-int8.tflite")
        >>> crop = fit_square(read_image("face.jpg"), classifier.info.input_size)
        >>> classifier.scores(crop[None])
        array([[0.01, 0.97]], dtype=float32)

    Attributes:
        info: The file's metadata.
    """

    def __init__(self, model: str | Path | bytes | None = None, threads: int = 1) -> None:
        """Load a model file and check it.

        Args:
            model: A `.tflite` file that happysad exported, or its bytes; default: the bundled
                model.
            threads: Number of threads that LiteRT uses for one crop.

        Raises:
            ModelError: The file is missing, damaged, or was not made by happysad.
        """
        name = "model" if isinstance(model, bytes) else str(model or MODEL)
        if model is None:
            content = read_released(MODEL)
        elif isinstance(model, bytes):
            content = model
        else:
            try:
                content = Path(model).read_bytes()
            except OSError as error:
                raise ModelError(f"{name}: cannot be read ({error.strerror})") from error
        self._flatbuffer, self.info = _unpack(content, name)
        self._threads = threads
        self._interpreters = PerThread(self._load)
        try:
            interpreter = self._interpreters.get()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{name}: LiteRT cannot run this model ({error})") from error
        _check_tensors(interpreter, self.info, name)

    def scores(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Classify crops.

        Args:
            crops: ``uint8 [N, S, S, 3]``, RGB, 0–255 as decoded, S = ``info.input_size``.

        Returns:
            P(sad) and P(happy), ``float32 [N, 2]``, 0–1, in the order of `LABELS`.

        Raises:
            ValueError: ``crops`` has another dtype or shape.
        """
        size = self.info.input_size
        crops = np.asarray(crops)
        if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (size, size, 3):
            raise ValueError(
                f"crops must be uint8 [N, {size}, {size}, 3]; "
                f"received {crops.dtype} {list(crops.shape)}"
            )
        interpreter = self._interpreters.get()
        source = interpreter.get_input_details()[0]["index"]
        target = interpreter.get_output_details()[0]["index"]
        scores = np.empty((len(crops), len(LABELS)), np.float32)
        for i in range(len(crops)):
            interpreter.set_tensor(source, crops[i : i + 1])
            interpreter.invoke()
            scores[i] = interpreter.get_tensor(target)[0]
        return scores

    def probabilities(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return P(happy) among happy and sad, ``float32 [N]``; arguments as for `scores`."""
        sad, happy = self.scores(crops).T
        probabilities: npt.NDArray[np.float32] = happy / np.maximum(happy + sad, 1e-9)
        return probabilities

    def label(self, scores: Scores) -> Label:
        """Label scores with the model's threshold."""
        return scores.label(self.info.threshold)

    def _load(self) -> Any:
        interpreter = Interpreter(model_content=self._flatbuffer, num_threads=self._threads)
        interpreter.allocate_tensors()
        return interpreter


def _unpack(content: bytes, name: str) -> tuple[bytes, ModelInfo]:
    """Split a model file into the flatbuffer and its metadata."""
    if content[4:8] != b"TFL3":
        raise ModelError(f"{name}: not a .tflite model")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            flatbuffer = content[: min(entry.header_offset for entry in archive.infolist())]
            values = json.loads(archive.read(INFO_FILE))
    # Damaged archives make zipfile raise nearly anything.
    except Exception as error:
        raise ModelError(
            f"{name}: truncated, or not made by happysad (no {INFO_FILE} inside); "
            "copy the file again, or make one with: happysad export RUN"
        ) from error
    try:
        schema, labels = values.pop("schema"), values.pop("labels")
        if schema != SCHEMA or tuple(labels) != LABELS:
            raise ModelError(
                f"{name}: has schema {schema} and labels {labels}; this version reads schema "
                f"{SCHEMA} and labels {list(LABELS)}; update happysad, or export the model again"
            )
        digest = values.pop("sha256")
        values.pop("recipe_settings", None)
        info = ModelInfo(**values)
        if not 0 <= float(info.threshold) <= 1:
            raise ValueError(f"the threshold {info.threshold} is not between 0 and 1")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{name}: {INFO_FILE} inside has an unknown form ({error}); "
            "update happysad, or export the model again"
        ) from error
    if digest != hashlib.sha256(flatbuffer).hexdigest():
        raise ModelError(
            f"{name}: its content does not match its checksum; "
            "copy the file again, or export the model again"
        )
    return flatbuffer, info


def _check_tensors(interpreter: Any, info: ModelInfo, name: str) -> None:
    expected = (
        [("uint8", [1, info.input_size, info.input_size, 3])],
        [("float32", [1, len(LABELS)])],
    )
    found = tuple(
        [(np.dtype(tensor["dtype"]).name, tensor["shape"].tolist()) for tensor in tensors]
        for tensors in (interpreter.get_input_details(), interpreter.get_output_details())
    )
    if found != expected:
        raise ModelError(
            f"{name}: maps {found[0]} to {found[1]}, a happysad model maps {expected[0]} to "
            f"{expected[1]}; export it again"
        )
