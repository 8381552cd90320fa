"""From a Keras network to a `.tflite` graph, at each precision.

There is one source: the float32 graph. The others are made from it by quantising chosen operators,
because at both ends of the network int8 does harm and saves next to nothing: the first two blocks
of MobileNetV2 and the last layer stay in float, for 20 KB of 2.9 MB. On a network trained on
FER2013, 99.4 % of the int8 decisions agree with float32's so, and 97.6 % where everything is int8
(benchmarks/quantisation.py).
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
from happysad.export.freeze import frozen_converter

SIGNATURE: Final = "serving_default"
INPUT: Final = "image"
OUTPUT: Final = "probabilities"

_WEIGHTED: Final = (
    TFLOperationName.CONV_2D,
    TFLOperationName.DEPTHWISE_CONV_2D,
    TFLOperationName.FULLY_CONNECTED,
)
# Matched against the names of operators, which begin with the Keras layers' names.
_KEEP_FLOAT: Final = r"/(scale|backbone\w*/(Conv1|expanded_conv|block_1_)|logit)"


def float32_graph(network: keras.Model, temperature: float) -> bytes:
    """Convert a network to a graph of built-in operators with calibration and both outputs inside.

    Args:
        network: ``uint8 [N, S, S, 3]`` → P(happy), with a layer named ``logit``.
        temperature: What the logit is divided by.

    Returns:
        A TFLite flatbuffer with the one signature ``serving_default``: ``uint8 [1, S, S, 3]``
        pixels → ``float32 [1, 2]``, P(sad) and P(happy).

    Raises:
        ModelError: Keras runs on a backend that cannot be converted.
    """
    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"export needs Keras on TensorFlow, and it runs on {keras.backend.backend()}: "
            "set KERAS_BACKEND=tensorflow; a .keras file trained on another backend will do"
        )
    size = int(network.input_shape[1])
    logits = logit_network(network)

    def serve(image: Any) -> dict[str, Any]:
        happy = tf.sigmoid(logits(image, training=False) * (1 / temperature))
        return {OUTPUT: tf.concat([1 - happy, happy], axis=-1)}

    signature = tf.TensorSpec((1, size, size, 3), tf.uint8, name=INPUT)
    converter = frozen_converter(serve, signature, logits)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return bytes(converter.convert())


def logit_network(network: keras.Model) -> keras.Model:
    """Cut a network off before its sigmoid: crops → logits ``float32 [N, 1]``."""
    return keras.Model(network.inputs, network.get_layer("logit").output)


def quantise(graph: bytes, precision: Precision, representative: npt.NDArray[np.uint8]) -> bytes:
    """Make the graph of another precision; input and output stay as they are.

    * ``float16``: weights in half the bytes, computed in float32.
    * ``dynamic``: weights of convolutions and dense layers in int8, one scale for each channel;
      what flows between them is float32. Depthwise layers stay float32: they are a tenth of the
      weights, and run slower so.
    * ``int8``: weights and what flows between them, with scales from representative crops.

    Args:
        graph: From `float32_graph`.
        precision: Which; ``"float32"`` gives ``graph`` back.
        representative: ``uint8 [N, S, S, 3]`` training crops, a few hundred; only int8 needs them.

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
        recipe.add_quantization_config(
            _KEEP_FLOAT, TFLOperationName.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE
        )
    quantizer = Quantizer(bytearray(graph), recipe.get_quantization_recipe())
    # The quantiser draws progress bars that nothing switches off, and LiteRT warns of a debugging
    # mode that the quantiser asks it for.
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranges = _ranges(graph, recipe, representative) if precision == "int8" else None
        result = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def _ranges(graph: bytes, recipe: RecipeManager, crops: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Find the least and the greatest value of every tensor over all crops."""
    # Quantizer.calibrate would take a moving average, in which the last twenty crops decide.
    calibrator = Calibrator(
        memoryview(graph),
        mode=CalibrationMode.CALIBRATION_PROFILER_BASED,
        qsv_update_func=min_max_update,
    )
    calibrator.calibrate({SIGNATURE: [{INPUT: crop[np.newaxis]} for crop in crops]}, recipe)
    return dict(calibrator.get_model_qsvs())
