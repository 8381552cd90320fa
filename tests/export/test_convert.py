from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from ai_edge_litert.interpreter import Interpreter

from happysad.classifier import PRECISIONS, Precision
from happysad.export.convert import (
    FLOAT_BLOCKS,
    FLOAT_BLOCKS_FROZEN,
    float32_graph,
    float_blocks_of,
    logit_network,
    quantise,
)
from happysad.training.network import build_network
from happysad.training.recipe import read_recipe

Crops = npt.NDArray[np.uint8]
Files = dict[Precision, Path]


def opened(graph: bytes) -> Any:
    interpreter = Interpreter(model_content=graph, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def answer(interpreter: Any, crop: Crops) -> npt.NDArray[np.float32]:
    runner = interpreter.get_signature_runner("serving_default")
    (both,) = np.asarray(runner(image=crop[np.newaxis])["probabilities"], np.float32)
    return np.array(both)


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
    """The real network with random weights, scaled so that activations stay in range."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    network = build_network(32, dense=(8,), weights="none")
    for layer in network.get_layer("backbone").layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            shape = layer.kernel.shape
            sources = 9 if isinstance(layer, keras.layers.DepthwiseConv2D) else np.prod(shape[:3])
            layer.kernel.assign(rng.normal(0, np.sqrt(2 / sources), shape))
    # The logit is what the crops differ most in, at a spread of 2.
    body = keras.Model(network.inputs, network.get_layer("dense_0").output)
    features = body.predict(coloured_crops, verbose=0)
    middle = features.mean(axis=0)
    axis = np.linalg.svd(features - middle, full_matrices=False)[2][0]
    axis *= 2 / (features @ axis).std()
    network.get_layer("logit").set_weights([axis[:, np.newaxis], np.array([-middle @ axis])])
    return network


def test_each_precision_of_the_real_network_agrees_with_keras(
    mobilenet: keras.Model, coloured_crops: Crops
) -> None:
    expected = mobilenet.predict(coloured_crops, verbose=0)[:, 0]
    graph = float32_graph(mobilenet, temperature=1.0)
    largest = {"float32": 1e-4, "float16": 0.02, "dynamic": 0.4, "int8": 0.4}
    size = {}
    for precision in PRECISIONS:
        quantised = quantise(graph, precision, coloured_crops)
        size[precision] = len(quantised) / 1e6
        interpreter = opened(quantised)
        happy = np.array([answer(interpreter, crop)[1] for crop in coloured_crops])
        difference = np.abs(happy - expected)
        assert difference.max() < largest[precision], precision
        assert difference.mean() < 0.1, precision
        # Not in steps: the last layer is left in float.
        assert len(set(happy.tolist())) > 60, precision
        assert not [name for name in operators(interpreter) if "Flex" in name or "CUSTOM" in name]
    assert size["float32"] > 8.5
    assert size["float16"] < 4.6
    assert max(size["dynamic"], size["int8"]) < 2.8


def test_a_frozen_backbone_keeps_more_blocks_in_float() -> None:
    assert float_blocks_of(read_recipe("seed")) == FLOAT_BLOCKS_FROZEN
    assert float_blocks_of(read_recipe("fine-tune")) == FLOAT_BLOCKS


@pytest.mark.parametrize("blocks", [FLOAT_BLOCKS, FLOAT_BLOCKS_FROZEN])
def test_int8_leaves_the_first_blocks_and_the_last_layer_in_float(
    mobilenet: keras.Model, coloured_crops: Crops, blocks: int
) -> None:
    graph = float32_graph(mobilenet, 1.0)
    interpreter = opened(quantise(graph, "int8", coloured_crops[:4], blocks))
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    computed_in = [
        (operator["op_name"], tensors[operator["inputs"][1]]["dtype"])
        for operator in interpreter._get_ops_details()
        if operator["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    ]
    # Conv1, two layers of the first block, three of each further one; then the logit.
    early = 3 + 3 * blocks
    assert [dtype for _, dtype in computed_in[:early]] == [np.float32] * early
    assert {dtype for _, dtype in computed_in[early:-1]} == {np.int8}
    assert computed_in[-1] == ("FULLY_CONNECTED", np.float32)


def test_an_operator_that_tflite_lacks_fails_the_export() -> None:
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    logit = keras.layers.Dense(1, name="logit")(keras.ops.erfinv(x))
    network = keras.Model(image, keras.layers.Activation("sigmoid")(logit))

    with pytest.raises(Exception, match="Erfinv"):
        float32_graph(network, 1.0)
