"""Convert a function of a Keras model to TFLite with its weights as constants."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def frozen_converter(
    call: Callable[[Any], Any], signature: tf.TensorSpec, model: keras.Model
) -> tf.lite.TFLiteConverter:
    """Return a TFLite converter for a function that uses a model's weights.

    Args:
        call: Maps one tensor to the outputs of the graph.
        signature: Shape, dtype and name of that tensor.
        model: The model whose weights ``call`` uses; their current values are frozen.

    Returns:
        A converter; set what it needs and call ``convert()``.
    """
    function = tf.function(call).get_concrete_function(signature)
    # The converter freezes only the TensorFlow variables that it can reach from here: given the
    # Keras model itself it omits them, and the outputs are NaN.
    owner = tf.Module()
    owner.variables_of_network = [variable.value for variable in model.variables]
    return tf.lite.TFLiteConverter.from_concrete_functions([function], owner)
