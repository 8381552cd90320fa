"""The model: one `.tflite` file, checked when it is opened, run on batches of crops."""

import hashlib
import io
import json
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from happysad.errors import ModelError
from happysad.prediction import LABELS, Label
from happysad.released import MODEL, read_released

Precision = Literal["float32", "float16", "dynamic", "int8"]
PRECISIONS: Final[tuple[Precision, ...]] = ("float32", "float16", "dynamic", "int8")

INFO_FILE: Final = "happysad.json"
"""The member of the zip archive at the end of a model file that holds its `ModelInfo`."""

SCHEMA: Final = 1


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says of itself.

    Attributes:
        input_size: Side of the crops, pixels.
        threshold: P(happy) from which a crop is happy, 0–1.
        band: ``(low, high)``: from low to high, both included, the label is ``"uncertain"``.
        temperature: What the logit is divided by inside the graph, so that the probability is
            calibrated.
        precision: How its weights are stored.
        recipe: Name of the recipe it was trained by.
        data_fingerprint: SHA-256 of the training data's contents and labels.
        happysad: Version that exported the file.
        created: Day of the export, ISO 8601.
    """

    input_size: int
    threshold: float
    band: tuple[float, float]
    temperature: float
    precision: Precision
    recipe: str
    data_fingerprint: str
    happysad: str
    created: str


class Classifier:
    """Tells happy crops from sad ones with a `.tflite` file made by `happysad export`.

    One classifier may be used from several threads at once: each thread gets an interpreter of
    its own, because LiteRT's are not safe to share.

        >>> classifier = Classifier("model-int8.tflite")                # doctest: +SKIP
        >>> crop = fit_square(read_image("face.jpg"), classifier.info.input_size)  # doctest: +SKIP
        >>> classifier.probabilities(crop[None])                        # doctest: +SKIP
        array([0.98], dtype=float32)

    Attributes:
        info: What the file says of itself.
    """

    def __init__(self, path: str | Path | None = None, threads: int = 1) -> None:
        """Open a model file and check it.

        Args:
            path: A `.tflite` file that happysad exported; None means the released one, which
                comes with the package.
            threads: How many threads LiteRT works with for one crop.

        Raises:
            ModelError: The file is missing, damaged, or was not made by happysad.
        """
        self._threads = threads
        self._local = threading.local()
        if path is None:
            path, content = MODEL, read_released(MODEL)
        else:
            try:
                content = Path(path).read_bytes()
            except OSError as error:
                raise ModelError(f"{path}: the model cannot be read ({error.strerror})") from error
        self._flatbuffer, self.info = _unpack(content, str(path))
        _check_tensors(self._interpreter(str(path)), self.info, str(path))

    def probabilities(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Classify crops.

        Args:
            crops: ``uint8 [N, S, S, 3]``, RGB, 0–255 as decoded, S = ``info.input_size``.

        Returns:
            P(happy), ``float32 [N]``, 0–1.

        Raises:
            ValueError: ``crops`` has another dtype or shape.
        """
        size = self.info.input_size
        if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (size, size, 3):
            raise ValueError(
                f"crops must be uint8 [N, {size}, {size}, 3]; "
                f"received {crops.dtype} {list(crops.shape)}"
            )
        interpreter = self._interpreter()
        source = interpreter.get_input_details()[0]["index"]
        target = interpreter.get_output_details()[0]["index"]
        happy = np.empty(len(crops), np.float32)
        for i in range(len(crops)):
            interpreter.set_tensor(source, crops[i : i + 1])
            interpreter.invoke()
            happy[i] = interpreter.get_tensor(target)[0, 1]
        return happy

    def label(self, probability: float) -> Label:
        """Name a probability: happy, sad, or uncertain within the model's band."""
        low, high = self.info.band
        if low <= probability <= high:
            return "uncertain"
        return "happy" if probability >= self.info.threshold else "sad"

    def _interpreter(self, name: str = "") -> Any:
        if not hasattr(self._local, "interpreter"):
            try:
                interpreter = Interpreter(model_content=self._flatbuffer, num_threads=self._threads)
                interpreter.allocate_tensors()
            except (RuntimeError, ValueError) as error:
                raise ModelError(f"{name}: LiteRT cannot run this model ({error})") from error
            self._local.interpreter = interpreter
        return self._local.interpreter


def _unpack(content: bytes, name: str) -> tuple[bytes, ModelInfo]:
    """Take a model file apart into the flatbuffer and what `happysad.json` says."""
    if content[4:8] != b"TFL3":
        raise ModelError(f"{name}: not a .tflite model")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            flatbuffer = content[: min(entry.header_offset for entry in archive.infolist())]
            values = json.loads(archive.read(INFO_FILE))
    # Damaged archives make zipfile raise nearly anything.
    except Exception as error:
        raise ModelError(
            f"{name}: cut short, or not made by happysad (no {INFO_FILE} inside); "
            "copy the file again, or make one with: happysad export RUN"
        ) from error
    try:
        schema, labels = values.pop("schema"), values.pop("labels")
        digest = values.pop("sha256")
        low, high = values.pop("uncertain_band")
        values.pop("recipe_settings", None)
        info = ModelInfo(**values, band=(float(low), float(high)))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{name}: {INFO_FILE} inside is not of a form this version knows ({error}); "
            "update happysad, or export the model again"
        ) from error
    if schema != SCHEMA or tuple(labels) != LABELS:
        raise ModelError(
            f"{name}: has schema {schema} and labels {labels}, this version reads schema {SCHEMA} "
            f"and labels {list(LABELS)}; update happysad, or export the model again"
        )
    if digest != hashlib.sha256(flatbuffer).hexdigest():
        raise ModelError(
            f"{name}: its content does not match its checksum, it was damaged or changed; "
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
