"""Hand a function of a Keras model to the TFLite converter with its weights as constants."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def frozen_converter(
    call: Callable[[Any], Any], signature: tf.TensorSpec, model: keras.Model
) -> tf.lite.TFLiteConverter:
    """Make a converter of a function that uses a model's weights.

    Args:
        call: From one tensor to what the graph is to return.
        signature: Shape, dtype and name of that tensor.
        model: Whose weights ``call`` uses. They are frozen as they are now.

    Returns:
        A converter; set what it needs and call ``convert()``.
    """
    function = tf.function(call).get_concrete_function(signature)
    # The converter freezes only the TensorFlow variables that it can reach from here: given the
    # Keras model itself it leaves them out, and the file answers with no number.
    owner = tf.Module()
    owner.variables_of_network = [variable.value for variable in model.variables]
    return tf.lite.TFLiteConverter.from_concrete_functions([function], owner)
