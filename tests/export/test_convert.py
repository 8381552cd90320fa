from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from ai_edge_litert.interpreter import Interpreter

from happysad.classifier import PRECISIONS, Precision
from happysad.export.convert import float32_graph, logit_network, quantise
from happysad.export.export import measure
from happysad.training.network import build_network

Crops = npt.NDArray[np.uint8]
Files = dict[Precision, Path]


def opened(graph: bytes) -> Any:
    interpreter = Interpreter(model_content=graph, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def answer(interpreter: Any, crop: Crops) -> npt.NDArray[np.float32]:
    runner = interpreter.get_signature_runner("serving_default")
    return np.asarray(runner(image=crop[np.newaxis])["probabilities"])[0]


def operators(interpreter: Any) -> list[str]:
    return [operator["op_name"] for operator in interpreter._get_ops_details()]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_pixels_go_in_and_two_probabilities_come_out(
    model_files: Files, coloured_crops: Crops, precision: Precision
) -> None:
    interpreter = opened(model_files[precision].read_bytes())

    assert list(interpreter.get_signature_list()) == ["serving_default"]
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (source["dtype"], source["shape"].tolist()) == (np.uint8, [1, 32, 32, 3])
    assert (target["dtype"], target["shape"].tolist()) == (np.float32, [1, 2])
    for crop in coloured_crops[:10]:
        both = answer(interpreter, crop)
        assert both.sum() == pytest.approx(1, abs=1e-6)
        assert (both >= 0).all()


def test_the_temperature_is_inside(red_is_happy: keras.Model, coloured_crops: Crops) -> None:
    logits = logit_network(red_is_happy).predict(coloured_crops[:10], verbose=0)[:, 0]
    for temperature in (0.5, 3.0):
        interpreter = opened(float32_graph(red_is_happy, temperature))
        happy = [answer(interpreter, crop)[1] for crop in coloured_crops[:10]]
        np.testing.assert_allclose(happy, 1 / (1 + np.exp(-logits / temperature)), atol=1e-5)


@pytest.fixture(scope="module")
def mobilenet(coloured_crops: Crops) -> keras.Model:
    """The real network, its head fitted so that random features tell red from blue."""
    keras.utils.set_random_seed(0)
    network = build_network(32, dense=(8,), weights="none")
    backbone = network.get_layer("backbone")
    scaled = coloured_crops / np.float32(127.5) - 1
    # Statistics of real crops: with the initial ones random layers fade to nothing.
    for _ in range(20):
        backbone(scaled, training=True)
    body = keras.Model(network.inputs, network.get_layer("dense_0").output)
    features = body.predict(coloured_crops, verbose=0)
    targets = np.where(coloured_crops.mean((1, 2))[:, 0] > coloured_crops.mean((1, 2))[:, 2], 2, -2)
    design = np.column_stack([features, np.ones(len(features))])
    weights = np.linalg.lstsq(design, targets, rcond=None)[0].astype(np.float32)
    network.get_layer("logit").set_weights([weights[:-1, np.newaxis], weights[-1:]])
    return network


def test_each_precision_of_the_real_network_agrees_with_keras(
    mobilenet: keras.Model, coloured_crops: Crops
) -> None:
    labels = np.zeros(len(coloured_crops), np.uint8)
    labels[::2] = 1
    reference = measure(mobilenet, coloured_crops, labels)
    graph = float32_graph(mobilenet, reference.temperature)
    largest = {"float32": 1e-4, "float16": 0.02, "dynamic": 0.2, "int8": 0.2}
    sizes = []
    for precision in PRECISIONS:
        quantised = quantise(graph, precision, coloured_crops[:40])
        interpreter = opened(quantised)
        happy = np.array([answer(interpreter, crop)[1] for crop in coloured_crops])
        assert np.abs(happy - reference.probabilities).max() < largest[precision], precision
        # Not in steps: the last layer is left in float.
        assert len(set(happy.tolist())) > 60, precision
        assert not [name for name in operators(interpreter) if "Flex" in name or "CUSTOM" in name]
        sizes.append(len(quantised) / 1e6)
    assert sizes[0] > 8.5
    assert sizes[1] < 4.6
    assert max(sizes[2:]) < 2.8


def test_int8_leaves_the_first_blocks_and_the_last_layer_in_float(
    mobilenet: keras.Model, coloured_crops: Crops
) -> None:
    interpreter = opened(quantise(float32_graph(mobilenet, 1.0), "int8", coloured_crops[:4]))
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    computed_in = [
        (operator["op_name"], tensors[operator["inputs"][1]]["dtype"])
        for operator in interpreter._get_ops_details()
        if operator["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    ]
    # Conv1, two layers of the first block, three of the second; then the logit.
    assert [dtype for _, dtype in computed_in[:6]] == [np.float32] * 6
    assert {dtype for _, dtype in computed_in[6:-1]} == {np.int8}
    assert computed_in[-1] == ("FULLY_CONNECTED", np.float32)


def test_an_operator_that_tflite_lacks_fails_the_export() -> None:
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    logit = keras.layers.Dense(1, name="logit")(keras.ops.erfinv(x))
    network = keras.Model(image, keras.layers.Activation("sigmoid")(logit))

    with pytest.raises(Exception, match="Erfinv"):
        float32_graph(network, 1.0)
