"""Features of a frozen backbone.

On a CPU, LiteRT computes them several times faster than TensorFlow's training graph, to within
rounding (benchmarks/training_speed.py).
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from happysad.concurrency import PerThread

FloatArray = npt.NDArray[np.float32]
BATCH = 8


def features(network: keras.Model) -> Callable[[npt.NDArray[np.uint8]], FloatArray]:
    """Return the backbone of a network as a function.

    Args:
        network: As `build_network` makes it. On LiteRT, later changes of its weights are ignored.

    Returns:
        A thread-safe function from ``uint8 [N, size, size, 3]`` to pooled features
        ``float32 [N, channels]``.
    """
    pooled = keras.Model(network.input, network.get_layer("pool").output)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if not tf.config.list_physical_devices("GPU"):
            return _litert(pooled)
    lock = threading.Lock()

    def run(crops: npt.NDArray[np.uint8]) -> FloatArray:
        with lock:
            return np.asarray(keras.ops.convert_to_numpy(pooled(crops, training=False)))

    return run


def _litert(pooled: keras.Model) -> Callable[[npt.NDArray[np.uint8]], FloatArray]:
    import tensorflow as tf

    from happysad.training.freeze import frozen_converter

    signature = tf.TensorSpec((BATCH, *pooled.input_shape[1:]), tf.uint8)
    content = frozen_converter(lambda x: pooled(x, training=False), signature, pooled).convert()
    interpreters = PerThread(partial(_load, content))

    def run(crops: npt.NDArray[np.uint8]) -> FloatArray:
        interpreter = interpreters.get()
        source = interpreter.get_input_details()[0]["index"]
        result = interpreter.get_output_details()[0]["index"]
        out = []
        for start in range(0, len(crops), BATCH):
            batch = crops[start : start + BATCH]
            full = np.zeros((BATCH, *crops.shape[1:]), np.uint8)
            full[: len(batch)] = batch
            interpreter.set_tensor(source, full)
            interpreter.invoke()
            out.append(interpreter.get_tensor(result)[: len(batch)])
        return np.concatenate(out)

    return run


def _load(content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter
