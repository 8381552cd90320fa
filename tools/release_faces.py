"""Convert the YuNet face detector from ONNX to LiteRT and place it into the package.

    pip install --group release-faces
    python tools/release_faces.py face_detection_yunet_2023mar.onnx

The ONNX file comes from OpenCV Zoo, models/face_detection_yunet. The network is rebuilt in Keras
with the same weights; the decoding of boxes and landmarks becomes a part of the graph:
``uint8 [1, H, W, 3]`` RGB (H and W multiples of 32; 320 × 320 unless the caller resizes the input)
→ ``float32 [1, N, 15]``: left, top, width, height, five landmarks (x, y) in input pixels, score.

Source: Wu, Peng and Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector".
"""

import io
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import onnx
import onnx.numpy_helper
import tensorflow as tf
from keras import layers

from happysad import released
from happysad.files import atomic

SIDE: Final = 320
STRIDES: Final = (8, 16, 32)

LICENCE: Final = """\
YuNet face detection model

MIT License

Copyright (c) 2020 Shiqi Yu <shiqi.yu@gmail.com>

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or
substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT
OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

FloatArray = npt.NDArray[np.float32]
Weights = tuple[FloatArray, FloatArray]


def read_convolutions(path: Path) -> Iterator[Weights]:
    """Yield kernel (PyTorch's order: out, in, height, width) and bias of each convolution."""
    graph = onnx.load(path).graph
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Conv":
            yield tensors[node.input[1]], tensors[node.input[2]]


def build(convolutions: Iterator[Weights]) -> keras.Model:
    """Rebuild the network from the weights in the order of the ONNX graph."""

    def unit(x: Any) -> Any:
        x = _convolve(x, next(convolutions))
        return layers.ReLU()(_convolve_depthwise(x, next(convolutions)))

    image = keras.Input((SIDE, SIDE, 3), batch_size=1, dtype="uint8", name="image")
    kernel, bias = next(convolutions)
    # The original takes BGR.
    x = layers.ZeroPadding2D(1)(keras.ops.cast(image, "float32"))
    x = layers.ReLU()(_convolve(x, (kernel[:, ::-1], bias), strides=2))
    x = layers.MaxPooling2D(2)(unit(x))
    for _ in range(4):
        x = unit(x)
    levels = []
    for _ in STRIDES:
        x = unit(unit(layers.MaxPooling2D(2)(x)))
        levels.append(x)
    features = [unit(levels[-1])]
    for level in levels[-2::-1]:
        features.insert(0, unit(layers.Add()([level, _upsample(features[0])])))
    heads = [[(next(convolutions), next(convolutions)) for _ in STRIDES] for _ in range(4)]
    detections = [
        _Decode(stride)(_head(feature, [head[i] for head in heads]))
        for i, (feature, stride) in enumerate(zip(features, STRIDES, strict=True))
    ]
    return keras.Model(image, layers.Concatenate(axis=1, name="detections")(detections))


def _convolve(x: Any, weights: Weights, strides: int = 1) -> Any:
    kernel, bias = weights
    layer = layers.Conv2D(len(kernel), kernel.shape[2:], strides)
    x = layer(x)
    layer.set_weights([kernel.transpose(2, 3, 1, 0), bias])
    return x


def _convolve_depthwise(x: Any, weights: Weights) -> Any:
    kernel, bias = weights
    layer = layers.DepthwiseConv2D(kernel.shape[2:], padding="same")
    x = layer(x)
    layer.set_weights([kernel.transpose(2, 3, 0, 1), bias])
    return x


def _head(x: Any, branches: list[tuple[Weights, Weights]]) -> Any:
    """Apply the four branches (class, box, objectness, landmarks) as one: a third of the time."""
    pointwise, depthwise = (
        (np.concatenate([kernel for kernel, _ in part]), np.concatenate([bias for _, bias in part]))
        for part in zip(*branches, strict=True)
    )
    return _convolve_depthwise(_convolve(x, pointwise), depthwise)


def _upsample(x: Any) -> Any:
    """Double height and width by repeating pixels; unlike a resize, free of fixed sizes."""
    return _DepthToSpace()(layers.Concatenate()([x] * 4))


class _DepthToSpace(layers.Layer):  # type: ignore[misc]
    def call(self, x: Any) -> Any:
        return tf.nn.depth_to_space(x, 2)


class _Decode(layers.Layer):  # type: ignore[misc]
    """Class, box (4), objectness, landmarks (10) of each cell → detections in input pixels."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def call(self, x: Any) -> Any:
        category, box, objectness, landmarks = tf.split(x, (1, 4, 1, 10), axis=-1)
        # Ones computed from the input: a constant would fix the image's size in the graph.
        ones = tf.cast(tf.nn.relu(category) >= 0, tf.float32)
        cell = tf.concat([tf.cumsum(ones, axis=2), tf.cumsum(ones, axis=1)], axis=-1) - 1
        size = tf.exp(box[..., 2:])
        pixels = [box[..., :2] + cell - size / 2, size, landmarks + tf.concat([cell] * 5, -1)]
        score = tf.sqrt(tf.sigmoid(category) * tf.sigmoid(objectness))
        decoded = tf.concat([tf.concat(pixels, -1) * self.stride, score], axis=-1)
        return tf.reshape(decoded, (1, -1, 15))


def convert(network: keras.Model) -> bytes:
    """Convert to LiteRT; append what the file is, and its licence, as a zip archive."""
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    file = io.BytesIO(converter.convert())
    contract = {
        "name": "YuNet (face_detection_yunet_2023mar), converted",
        "source": "OpenCV Zoo, models/face_detection_yunet",
        "input": "uint8 [1, H, W, 3], RGB, 0-255; H and W multiples of 32",
        "output": "float32 [1, N, 15]: left, top, width, height, landmarks (x, y) of right eye, "
        "left eye, nose, right and left corner of the mouth, in input pixels; score 0-1",
        "strides": STRIDES,
        "next": "keep rows by score, then non-maximum suppression",
    }
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        # A ZipInfo has a fixed date: the same network makes the same file.
        archive.writestr(zipfile.ZipInfo("faces.json"), json.dumps(contract, indent=2))
        archive.writestr(zipfile.ZipInfo("LICENSE"), LICENCE)
    return file.getvalue()


def main() -> None:
    """Convert, write, update the checksums."""
    convolutions = read_convolutions(Path(sys.argv[1]))
    content = convert(build(convolutions))
    if next(convolutions, None):
        sys.exit(f"{sys.argv[1]}: has more convolutions than YuNet 2023mar")
    with atomic(released.FOLDER / released.FACES) as path:
        path.write_bytes(content)
    released.write_sums()
    print(f"{released.FACES}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
