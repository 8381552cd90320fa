import hashlib
import json
import zipfile
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from happysad.classifier import PRECISIONS, Classifier, Precision

Files = dict[Precision, Path]


def table(buffer: bytes, position: int) -> flatbuffers.table.Table:
    return flatbuffers.table.Table(bytearray(buffer), position)


def field(parent: flatbuffers.table.Table, slot: int) -> int:
    offset = parent.Offset(4 + 2 * slot)
    assert offset, f"slot {slot} is not set"
    return int(parent.Pos + offset)


def child(parent: flatbuffers.table.Table, slot: int) -> flatbuffers.table.Table:
    return table(parent.Bytes, parent.Indirect(field(parent, slot)))


def only(parent: flatbuffers.table.Table, slot: int) -> flatbuffers.table.Table:
    start = parent.Indirect(field(parent, slot))
    assert parent.Get(flatbuffers.number_types.Uint32Flags, start) == 1
    return table(parent.Bytes, parent.Indirect(start + 4))


def number(parent: flatbuffers.table.Table, slot: int) -> int:
    return int(parent.Get(flatbuffers.number_types.Uint8Flags, field(parent, slot)))


def text(parent: flatbuffers.table.Table, slot: int) -> str:
    return str(parent.String(field(parent, slot)).decode())


def floats(parent: flatbuffers.table.Table, slot: int) -> list[float]:
    start = parent.Indirect(field(parent, slot))
    count = parent.Get(flatbuffers.number_types.Uint32Flags, start)
    return [float(x) for x in np.frombuffer(bytes(parent.Bytes), np.float32, count, start + 4)]


def standard_metadata(content: bytes) -> bytes:
    model = schema.Model.GetRootAs(content, 0)
    entries = [model.Metadata(i) for i in range(model.MetadataLength())]
    (entry,) = [entry for entry in entries if entry.Name() == b"TFLITE_METADATA"]
    return bytes(model.Buffers(entry.Buffer()).DataAsNumpy())


def test_the_standard_metadata_is_complete_for_mediapipe(model_files: Files) -> None:
    """The slots are those of TFLite's metadata_schema.fbs."""
    content = standard_metadata(model_files["int8"].read_bytes())
    assert content[4:8] == b"M001"
    model = table(content, int.from_bytes(content[:4], "little"))
    assert text(model, 0) == "happysad"
    subgraph = only(model, 3)

    source = only(subgraph, 2)
    properties = child(source, 3)
    assert number(properties, 0) == 2, "the input is not said to be an image"
    assert number(child(properties, 1), 0) == 1, "the image is not said to be RGB"
    process = only(source, 4)
    assert number(process, 0) == 1, "no NormalizationOptions"
    assert (floats(child(process, 1), 0), floats(child(process, 1), 1)) == ([0.0], [1.0])

    labels = only(only(subgraph, 3), 6)
    assert (text(labels, 0), number(labels, 2)) == ("labels.txt", 2)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_any_unzip_reads_labels_and_description(model_files: Files, precision: Precision) -> None:
    content = model_files[precision].read_bytes()
    with zipfile.ZipFile(model_files[precision]) as archive:
        assert archive.testzip() is None
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.read("labels.txt").split() == [b"sad", b"happy"]
        values = json.loads(archive.read("happysad.json"))
        graph = content[: min(entry.header_offset for entry in archive.infolist())]

    assert values == {
        "schema": 2,
        "labels": ["sad", "happy"],
        "input_size": 32,
        "crop_margin": 1.0,
        "crop_level": True,
        "output": "sigmoid",
        "threshold": 0.55,
        "temperature": 2.0,
        "precision": precision,
        "recipe": "colours",
        "recipe_settings": {"name": "colours"},
        "data_fingerprint": "0" * 64,
        "happysad": "0.1.0",
        "created": "2025-01-01",
        "sha256": hashlib.sha256(graph).hexdigest(),
    }
    assert Classifier(model_files[precision]).info.precision == precision


@pytest.mark.parametrize("precision", PRECISIONS)
def test_weights_lie_inside_the_flatbuffer_and_aligned(
    model_files: Files, precision: Precision
) -> None:
    content = model_files[precision].read_bytes()
    whole = np.frombuffer(content, np.uint8)
    model = schema.Model.GetRootAs(content, 0)
    for i in range(model.BuffersLength()):
        buffer = model.Buffers(i)
        assert buffer.Offset() <= 1
        if not buffer.DataIsNone():
            start = buffer.DataAsNumpy().ctypes.data - whole.ctypes.data
            assert start % 16 == 0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_program_that_scales_pixels_to_one_gets_the_same_answer(
    model_files: Files, precision: Precision
) -> None:
    """As TensorFlow's guide to quantised models: divide by the scale, add the zero point."""
    crops = np.random.default_rng(0).integers(0, 256, (3, 1, 32, 32, 3), np.uint8)
    interpreter = Interpreter(str(model_files[precision]))
    interpreter.allocate_tensors()
    stated, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    for crop in crops:
        scale, zero_point = stated["quantization"]
        scaled = np.rint(crop / np.float32(255) / scale + zero_point).astype(stated["dtype"])
        interpreter.set_tensor(stated["index"], scaled)
        interpreter.invoke()
        expected = Classifier(model_files[precision]).scores(crop)
        assert interpreter.get_tensor(answer["index"]) == pytest.approx(expected, abs=1e-6)
