"""The network: MobileNetV2 without its top, dense layers, a sigmoid or a softmax."""

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
    "the ImageNet weights of MobileNetV2 (9 MB, from Keras's storage) cannot be downloaded ({}); "
    "use --weights happysad (the bundled model, needs no network), connect to the network and run "
    "the command again, or use --weights FILE with a copy of Keras's mobilenet_v2 no_top weights"
)


def build_network(
    input_size: int,
    *,
    dense: tuple[int, ...] = (128,),
    dropout: float = 0.2,
    weights: str = "none",
    output: str = "sigmoid",
) -> keras.Model:
    """Build the network.

    Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", at width 1.0.
    Its first layer scales pixels to [-1, 1], so it takes crops as decoded. It consists of Keras
    layers only and trains on every Keras backend.

    Args:
        input_size: Side of the crops, pixels.
        dense: Widths of the dense ReLU layers.
        dropout: Fraction dropped after each of them.
        weights: Of the backbone: ``"imagenet"`` (downloaded by Keras), ``"none"``, or a file.
            ``"happysad"`` is the bundled model, and a run's ``model.keras`` that run's; from these,
            the dense layers are taken as well where their widths match. Input sizes may differ.
        output: ``"sigmoid"`` or ``"softmax"``, see `Recipe`.

    Returns:
        A model from ``uint8 [N, input_size, input_size, 3]`` to P(happy), ``float32 [N, 1]``, or
        to P(sad), P(happy) and P(neither), ``float32 [N, 3]``. Its layers ``backbone``, ``pool``,
        ``logit`` and ``scores`` have these names.

    Raises:
        ModelError: The weights are not available or do not fit.
    """
    trained = _trained(weights)
    backbone = _backbone(input_size, weights if trained is None else "none")
    inputs = keras.Input((input_size, input_size, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale")(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(backbone(x))
    for i, width in enumerate(dense):
        x = keras.layers.Dense(width, activation="relu", name=f"dense_{i}")(x)
        x = keras.layers.Dropout(dropout, name=f"dropout_{i}")(x)
    x = keras.layers.Dense(1 if output == "sigmoid" else 3, name="logit")(x)
    scores = keras.layers.Activation(output, name="scores")(x)
    network = keras.Model(inputs, scores, name="happysad")
    if trained is not None:
        _start_from(network, trained)
    return network


def see_in_grey(network: keras.Model) -> None:
    """Make a network that was trained on grey crops only read colours by their luminance.

    Its outputs for grey crops do not change. Its response to colour is otherwise left over from
    the initial weights. Luminance after ITU-R BT.601, as in Pillow and OpenCV.
    """
    kernel = network.get_layer("backbone").get_layer("Conv1").kernel
    luminance = np.array([0.299, 0.587, 0.114], np.float32)[:, None]
    kernel.assign(keras.ops.sum(kernel, axis=2, keepdims=True) * luminance)


def unfreeze(backbone: keras.Model, layers: str) -> None:
    """Make a stage's layers trainable; frozen batch normalization keeps its statistics."""
    backbone.trainable = layers != "head"
    if layers.startswith("block_"):
        for layer in backbone.layers:
            if layer.name.startswith(f"{layers}_"):
                break
            layer.trainable = False


def head(network: keras.Model) -> keras.Model:
    """Return a model of the layers after pooling, which shares their weights."""
    pool = network.get_layer("pool")
    x = inputs = keras.Input(pool.output.shape[1:])
    for layer in network.layers[network.layers.index(pool) + 1 :]:
        x = layer(x)
    return keras.Model(inputs, x)


def write_weights(network: keras.Model, path: Path) -> None:
    """Write a network's weights as float16."""
    arrays = [keras.ops.convert_to_numpy(variable) for variable in network.weights]
    with atomic(path) as temporary:
        np.savez_compressed(
            temporary, **{f"{i:03}": array.astype(np.float16) for i, array in enumerate(arrays)}
        )


def _trained(weights: str) -> Weights | None:
    """Read the weights of a whole network, if ``weights`` names one."""
    if weights == "happysad":
        with np.load(io.BytesIO(read_released(WEIGHTS)), allow_pickle=False) as file:
            return [file[name] for name in file.files]
    if weights.endswith(".keras"):
        arrays: Weights = load_network(Path(weights)).get_weights()
        return arrays
    return None


def _start_from(network: keras.Model, arrays: Weights) -> None:
    """Assign a trained network's weights, up to the first layer that has another width."""
    arrays = [*arrays[:-2], *_as_logit(network, *arrays[-2:])]
    for variable, array in zip(network.weights, arrays, strict=False):
        if variable.shape != array.shape:
            break
        variable.assign(array)


def _as_logit(network: keras.Model, *softmax: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
    """Convert a softmax layer's weights for a sigmoid: P(happy) among happy and sad."""
    if network.weights[-1].shape == (1,) and softmax[-1].shape == (3,):
        return tuple(array[..., 1:2] - array[..., 0:1] for array in softmax)
    return softmax


def _backbone(input_size: int, weights: str) -> keras.Model:
    build = keras.applications.MobileNetV2
    shape = {"input_shape": (input_size, input_size, 3), "include_top": False, "name": "backbone"}
    if weights == "imagenet":
        try:
            backbone = build(weights="imagenet", **shape)
        except Exception as error:  # Each backend and proxy raises other exceptions.
            raise ModelError(NO_DOWNLOAD.format(_first_line(error))) from error
    else:
        backbone = build(weights=None, **shape)
    if weights not in ("imagenet", "none"):
        if not Path(weights).is_file():
            raise ModelError(f"{weights}: no such weights file")
        try:
            backbone.load_weights(weights)
        except Exception as error:  # Keras and HDF5 raise nearly anything on a foreign file.
            raise ModelError(
                f"{weights}: not weights of MobileNetV2 1.0 without its top ({_first_line(error)})"
            ) from error
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # Keras's 0.999 is for a million steps: with a few thousand, the moving statistics
            # would not reach those of faces.
            layer.momentum = 0.9
    return backbone


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def load_network(path: Path) -> keras.Model:
    """Load a trained network from a ``.keras`` file, for prediction.

    Raises:
        ModelError: The file is missing, damaged, or not a happysad network.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such model; a finished run contains model.keras")
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # A damaged archive fails anywhere in Keras, zipfile or HDF5.
        raise ModelError(f"{path}: not a Keras model, or damaged ({_first_line(error)})") from error
    names = {layer.name for layer in model.layers}
    if missing := {"backbone", "pool", "logit", "scores"} - names:
        raise ModelError(f"{path}: not a happysad network (no layer {min(missing)!r})")
    return model
