"""Conversion of a Keras network to a `.tflite` graph, at each precision.

All precisions are made from the float32 graph by quantising selected operators. The first blocks
of MobileNetV2 and the last layer stay in float. Two blocks cost 20 KB of 2.9 MB: on a network
trained on FER2013, 99.4 % of the int8 labels agree with float32's, and 97.6 % with everything in
int8 (benchmarks/quantisation.py). A frozen backbone has not adapted to its head, so that errors of
its features weigh more: five blocks in float reduce these errors by a third, for 70 KB.
"""

import contextlib
import io
import warnings
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from litert_quantizer.algorithm_manager import AlgorithmName
from litert_quantizer.calibrator import CalibrationMode, Calibrator
from litert_quantizer.qtyping import TFLOperationName
from litert_quantizer.quantizer import Quantizer
from litert_quantizer.recipe_manager import RecipeManager
from litert_quantizer.utils.qsv_utils import min_max_update

from happysad.classifier import Precision
from happysad.errors import ModelError
from happysad.training.freeze import frozen_converter
from happysad.training.recipe import Recipe

SIGNATURE: Final = "serving_default"
INPUT: Final = "image"
OUTPUT: Final = "probabilities"

_WEIGHTED: Final = (
    TFLOperationName.CONV_2D,
    TFLOperationName.DEPTHWISE_CONV_2D,
    TFLOperationName.FULLY_CONNECTED,
)
FLOAT_BLOCKS: Final = 1
"""Number of the last block that stays in float, in a network whose backbone was trained."""

FLOAT_BLOCKS_FROZEN: Final = 4
"""Likewise, in a network whose backbone was frozen."""


def float_blocks_of(recipe: Recipe) -> int:
    """Return the number of the last block that stays in float, by whether a stage trained any."""
    frozen = all(stage.layers == "head" for stage in recipe.stages)
    return FLOAT_BLOCKS_FROZEN if frozen else FLOAT_BLOCKS


def float32_graph(network: keras.Model, temperature: float) -> bytes:
    """Convert a network to a graph of built-in operators, with calibration inside.

    Args:
        network: As `build_network` makes it, with a sigmoid or a softmax.
        temperature: Divisor of the logits.

    Returns:
        A TFLite flatbuffer with the one signature ``serving_default``: ``uint8 [1, S, S, 3]``
        pixels → ``float32 [1, 2]``, P(sad) and P(happy).

    Raises:
        ModelError: Keras runs on a backend that cannot be converted.
    """
    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"export needs Keras on TensorFlow, not on {keras.backend.backend()}; set "
            "KERAS_BACKEND=tensorflow (a .keras file trained on another backend can be exported)"
        )
    size = int(network.input_shape[1])
    logits = logit_network(network)

    def serve(image: Any) -> dict[str, Any]:
        scaled = logits(image, training=False) * (1 / temperature)
        if logits.output_shape[-1] == 1:
            happy = tf.sigmoid(scaled)
            return {OUTPUT: tf.concat([1 - happy, happy], axis=-1)}
        return {OUTPUT: tf.nn.softmax(scaled)[:, :2]}

    signature = tf.TensorSpec((1, size, size, 3), tf.uint8, name=INPUT)
    converter = frozen_converter(serve, signature, logits)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return bytes(converter.convert())


def logit_network(network: keras.Model) -> keras.Model:
    """Return the network without its last activation: crops → logits, ``float32 [N, 1 or 3]``."""
    return keras.Model(network.inputs, network.get_layer("logit").output)


def quantise(
    graph: bytes,
    precision: Precision,
    representative: npt.NDArray[np.uint8],
    float_blocks: int = FLOAT_BLOCKS,
) -> bytes:
    """Quantise a graph; input and output stay the same.

    * ``float16``: weights in half the bytes, computed in float32.
    * ``dynamic``: weights of convolutions and dense layers in int8, one scale for each channel;
      what flows between them is float32. Depthwise layers stay float32: they are a tenth of the
      weights, and run slower so.
    * ``int8``: weights and what flows between them, with scales from representative crops.

    Args:
        graph: From `float32_graph`.
        precision: Which; ``"float32"`` gives ``graph`` back.
        representative: ``uint8 [N, S, S, 3]`` training crops, a few hundred; only int8 needs them.
        float_blocks: Number of the last block of MobileNetV2 that stays in float, below 10.

    Returns:
        A TFLite flatbuffer.
    """
    if precision == "float32":
        return graph
    recipe = RecipeManager()
    if precision == "float16":
        for operator in _WEIGHTED:
            recipe.add_weight_only_config(
                ".*", operator, 16, algorithm_key=AlgorithmName.FLOAT_CASTING
            )
    elif precision == "dynamic":
        for operator in (TFLOperationName.CONV_2D, TFLOperationName.FULLY_CONNECTED):
            recipe.add_dynamic_config(".*", operator, 8)
    else:
        for operator in (*_WEIGHTED, TFLOperationName.ADD, TFLOperationName.MEAN):
            recipe.add_static_config(".*", operator, 8, 8)
    if precision != "float16":
        # Matched against the names of operators, which begin with the Keras layers' names.
        early = rf"backbone\w*/(Conv1|expanded_conv|block_[1-{float_blocks}]_)"
        recipe.add_quantization_config(
            f"/(scale|{early}|logit)",
            TFLOperationName.ALL_SUPPORTED,
            algorithm_key=AlgorithmName.NO_QUANTIZE,
        )
    quantizer = Quantizer(bytearray(graph), recipe.get_quantization_recipe())
    # The quantiser's progress bars cannot be switched off, and LiteRT warns of the debugging mode
    # that the quantiser requests.
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranges = _ranges(graph, recipe, representative) if precision == "int8" else None
        result = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def _ranges(graph: bytes, recipe: RecipeManager, crops: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Return the minimum and maximum of every tensor over all crops."""
    # Quantizer.calibrate uses a moving average, dominated by the last twenty crops.
    calibrator = Calibrator(
        memoryview(graph),
        mode=CalibrationMode.CALIBRATION_PROFILER_BASED,
        qsv_update_func=min_max_update,
    )
    calibrator.calibrate({SIGNATURE: [{INPUT: crop[np.newaxis]} for crop in crops]}, recipe)
    return dict(calibrator.get_model_qsvs())
