"""The network: MobileNetV2 without its top, dense layers, one sigmoid."""

import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from happysad.errors import ModelError
from happysad.files import atomic
from happysad.released import WEIGHTS, read_released

Weights = list[npt.NDArray[Any]]

NO_DOWNLOAD = (
    "the ImageNet weights of MobileNetV2 (9 MB, from Keras's storage) could not be downloaded "
    "({}). Three ways to go on: connect to the network and run the command again; "
    "--weights FILE with a copy of Keras's mobilenet_v2 no_top weights; or --weights none to start "
    "from random ones"
)


def build_network(
    input_size: int,
    *,
    dense: tuple[int, ...] = (128,),
    dropout: float = 0.2,
    weights: str = "none",
) -> keras.Model:
    """Build the network that is trained, evaluated and exported.

    Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", at width 1.0.
    Scaling to [-1, 1] is its first layer, so crops go in as they were decoded. Written with
    Keras layers alone: it trains under each of Keras's backends.

    Args:
        input_size: Side of the crops, pixels.
        dense: Widths of the dense ReLU layers.
        dropout: Fraction dropped after each of them.
        weights: Of the backbone: ``"imagenet"`` (downloaded by Keras), ``"none"``, or a file.
            ``"happysad"`` takes the released model's, and a run's ``model.keras`` that one's; their
            dense layers too where ``dense`` gives them the same widths. Input sizes may differ.

    Returns:
        A model from ``uint8 [N, input_size, input_size, 3]`` to P(happy) ``float32 [N, 1]``.
        Its layers ``backbone``, ``pool``, ``logit`` and ``happy`` are there to be found by name.

    Raises:
        ModelError: The weights cannot be had or do not fit.
    """
    trained = _trained(weights)
    backbone = _backbone(input_size, weights if trained is None else "none")
    inputs = keras.Input((input_size, input_size, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale")(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(backbone(x))
    for i, width in enumerate(dense):
        x = keras.layers.Dense(width, activation="relu", name=f"dense_{i}")(x)
        x = keras.layers.Dropout(dropout, name=f"dropout_{i}")(x)
    x = keras.layers.Dense(1, name="logit")(x)
    happy = keras.layers.Activation("sigmoid", name="happy")(x)
    network = keras.Model(inputs, happy, name="happysad")
    if trained is not None:
        _start_from(network, trained)
    return network


def see_in_grey(network: keras.Model) -> None:
    """Make a network that was trained on grey crops alone read colours by their luminance.

    For grey crops it stays the same function. What it makes of colours is else a remnant of the
    weights it started from. ITU-R BT.601's luminance, as Pillow and OpenCV turn colour to grey.
    """
    kernel = network.get_layer("backbone").get_layer("Conv1").kernel
    luminance = np.array([0.299, 0.587, 0.114], np.float32)[:, None]
    kernel.assign(keras.ops.sum(kernel, axis=2, keepdims=True) * luminance)


def unfreeze(backbone: keras.Model, layers: str) -> None:
    """Make trainable what a stage trains; a frozen BatchNormalization keeps its statistics."""
    backbone.trainable = layers != "head"
    if layers.startswith("block_"):
        for layer in backbone.layers:
            if layer.name.startswith(f"{layers}_"):
                break
            layer.trainable = False


def head(network: keras.Model) -> keras.Model:
    """Make a model of the layers after pooling; weights are shared, not copied."""
    pool = network.get_layer("pool")
    x = inputs = keras.Input(pool.output.shape[1:])
    for layer in network.layers[network.layers.index(pool) + 1 :]:
        x = layer(x)
    return keras.Model(inputs, x)


def emotions_top(count: int, dropout: float) -> list[keras.layers.Layer]:
    """Make the layers that tell so many emotions apart, to stand after pooling."""
    return [keras.layers.Dropout(dropout), keras.layers.Dense(count, activation="softmax")]


def write_weights(network: keras.Model, path: Path) -> None:
    """Write a network's weights as float16, half the size of what was trained."""
    arrays = [keras.ops.convert_to_numpy(variable) for variable in network.weights]
    with atomic(path) as temporary:
        np.savez_compressed(
            temporary, **{f"{i:03}": array.astype(np.float16) for i, array in enumerate(arrays)}
        )


def _trained(weights: str) -> Weights | None:
    """Read the weights of a whole network, where such a one is named."""
    if weights == "happysad":
        with np.load(io.BytesIO(read_released(WEIGHTS)), allow_pickle=False) as file:
            return [file[name] for name in file.files]
    if weights.endswith(".keras"):
        arrays: Weights = load_network(Path(weights)).get_weights()
        return arrays
    return None


def _start_from(network: keras.Model, arrays: Weights) -> None:
    """Give a network these weights; where its dense layers have other widths, its backbone."""
    variables = network.weights
    if [v.shape for v in variables] != [array.shape for array in arrays]:
        variables = network.get_layer("backbone").weights
    for variable, array in zip(variables, arrays, strict=False):
        variable.assign(array)


def _backbone(input_size: int, weights: str) -> keras.Model:
    build = keras.applications.MobileNetV2
    shape = {"input_shape": (input_size, input_size, 3), "include_top": False, "name": "backbone"}
    if weights == "imagenet":
        try:
            backbone = build(weights="imagenet", **shape)
        except Exception as error:  # Each backend and proxy fails in its own way.
            raise ModelError(NO_DOWNLOAD.format(_first_line(error))) from error
    else:
        backbone = build(weights=None, **shape)
    if weights not in ("imagenet", "none"):
        if not Path(weights).is_file():
            raise ModelError(f"{weights}: no such weights file")
        try:
            backbone.load_weights(weights)
        except Exception as error:  # Keras and HDF5 raise what they like on a foreign file.
            raise ModelError(
                f"{weights}: not weights of MobileNetV2 1.0 without its top ({_first_line(error)})"
            ) from error
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # Keras sets 0.999, made for ImageNet's million steps: in a few thousand the moving
            # statistics would never arrive at the faces'.
            layer.momentum = 0.9
    return backbone


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def load_network(path: Path) -> keras.Model:
    """Load a trained network from a ``.keras`` file, for predicting.

    Raises:
        ModelError: The file is missing, damaged, or not a network of happysad's.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such model; a finished run holds model.keras")
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # A damaged archive fails anywhere in Keras, zipfile or HDF5.
        raise ModelError(f"{path}: not a whole Keras model ({_first_line(error)})") from error
    names = {layer.name for layer in model.layers}
    if missing := {"backbone", "pool", "logit", "happy"} - names:
        raise ModelError(f"{path}: not a network of happysad's (no layer {min(missing)!r})")
    return model
