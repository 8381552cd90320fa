"""Metadata embedded in model files, for happysad and MediaPipe.

Two things are added to a graph. TFLite's standard metadata (the ``ModelMetadata`` table of
``metadata_schema.fbs``, file identifier ``M001``) goes into the flatbuffer's buffer
``TFLITE_METADATA``; with it MediaPipe's ImageClassifier takes the file as it is. A zip archive
with ``labels.txt`` and ``happysad.json`` is appended, as that standard has it; any unzip reads it.
"""

import hashlib
import io
import json
import zipfile
from dataclasses import asdict
from typing import Any, Final

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from happysad.classifier import INFO_FILE, SCHEMA, ModelInfo
from happysad.prediction import LABELS

_LABELS_FILE: Final = "labels.txt"
_METADATA: Final = "TFLITE_METADATA"
# Numbers that metadata_schema.fbs gives to union members and enum values.
_IMAGE_PROPERTIES, _RGB, _NORMALIZATION, _TENSOR_AXIS_LABELS = 2, 1, 1, 2


class _Builder(flatbuffers.Builder):  # type: ignore[misc]
    """Align weights to 16 bytes.

    TFLite's schema requires it, and flatbuffers' Python builder does not do it.
    """

    def CreateNumpyVector(self, x: npt.NDArray[Any]) -> int:  # noqa: N802
        self.Prep(16, x.nbytes)
        return int(super().CreateNumpyVector(x))


def add_metadata(graph: bytes, info: ModelInfo, recipe: dict[str, Any]) -> bytes:
    """Make a model file of a graph.

    Args:
        graph: A TFLite flatbuffer, ``uint8 [1, S, S, 3]`` → ``float32 [1, 2]``.
        info: The metadata to embed.
        recipe: The recipe's settings, for people to read.

    Returns:
        The file's bytes: a valid flatbuffer, followed by a zip archive.
    """
    model = schema.ModelT.InitFromPackedBuf(graph, 0)
    model.description = "happysad: P(sad) and P(happy) of a face"
    _state_input_scale(model)
    for stored in model.buffers:
        # The quantiser puts weights behind the flatbuffer; inside, every reader finds them.
        if stored.offset > 1:
            stored.data = np.frombuffer(graph, np.uint8, stored.size, stored.offset)
            stored.offset = stored.size = 0
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(_model_metadata(info), np.uint8)
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = _METADATA, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    builder = _Builder(len(graph) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    flatbuffer = bytes(builder.Output())

    document = {
        "schema": SCHEMA,
        "labels": LABELS,
        **asdict(info),
        "recipe_settings": recipe,
        "sha256": hashlib.sha256(flatbuffer).hexdigest(),
    }
    file = io.BytesIO(flatbuffer)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        # A ZipInfo has a fixed date: the same model makes the same file.
        archive.writestr(zipfile.ZipInfo(_LABELS_FILE), "\n".join(LABELS) + "\n")
        archive.writestr(zipfile.ZipInfo(INFO_FILE), json.dumps(document, indent=2))
    return file.getvalue()


def _state_input_scale(model: Any) -> None:
    """Say that a pixel of 255 is 1.0.

    The graph casts its input and never reads this. Programs that scale pixels to 0–1 do: following
    TensorFlow's guide, they divide by the input's scale, which without this is 0.
    """
    subgraph = model.subgraphs[0]
    stated = schema.QuantizationParametersT()
    stated.scale, stated.zeroPoint = np.array([1 / 255], np.float32), np.array([0], np.int64)
    subgraph.tensors[subgraph.inputs[0]].quantization = stated


def _model_metadata(info: ModelInfo) -> bytes:
    """Build the ``ModelMetadata`` table; each field is ``(slot in the schema, value)``."""
    builder = flatbuffers.Builder(1024)

    def floats(*values: float) -> int:
        return int(builder.CreateNumpyVector(np.array(values, np.float32)))

    def text(value: str) -> int:
        return int(builder.CreateString(value))

    def table(*offsets: tuple[int, int], enums: tuple[tuple[int, int], ...] = ()) -> int:
        builder.StartObject(max(slot for slot, _ in (*offsets, *enums)) + 1)
        for slot, offset in offsets:
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, value in enums:
            builder.PrependUint8Slot(slot, value, 0)
        return int(builder.EndObject())

    def tables(*offsets: int) -> int:
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    image = table(enums=((0, _RGB),))
    content = table((1, image), enums=((0, _IMAGE_PROPERTIES),))
    # Scaling is inside the graph: a program that applies these values leaves the pixels unchanged.
    normalization = table((0, floats(0.0)), (1, floats(1.0)))
    process = table((1, normalization), enums=((0, _NORMALIZATION),))
    pixels = table((0, floats(255.0)), (1, floats(0.0)))
    source = table(
        (0, text("image")),
        (1, text("A square crop of one upright face: RGB, 0–255, as decoded")),
        (3, content),
        (4, tables(process)),
        (5, pixels),
    )
    labels = table((0, text(_LABELS_FILE)), enums=((2, _TENSOR_AXIS_LABELS),))
    range_ = table((0, floats(1.0)), (1, floats(0.0)))
    target = table(
        (0, text("probabilities")),
        (1, text("P(sad) and P(happy), calibrated; they add up to at most 1")),
        (5, range_),
        (6, tables(labels)),
    )
    subgraph = table((2, tables(source)), (3, tables(target)))
    model = table(
        (0, text("happysad")),
        (1, text(f"Happy or sad, from a face; recipe {info.recipe}, {info.precision}")),
        (2, text(info.happysad)),
        (3, tables(subgraph)),
        (7, text("1.0.0")),
    )
    builder.Finish(model, b"M001")
    return bytes(builder.Output())
