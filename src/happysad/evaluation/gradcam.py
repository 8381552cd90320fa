"""Grad-CAM heat maps: the parts of a crop that support the predicted class.

Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization". After the pooling our network has dense layers only, so the gradient of the logit
with respect to the feature map is a product of their weights: written out here in NumPy, it is
exact and the same under every Keras backend.
"""

import keras
import numpy as np
import numpy.typing as npt
from PIL import Image

Heat = npt.NDArray[np.float32]


def grad_cam(model: keras.Model, crops: npt.NDArray[np.uint8]) -> Heat:
    """Compute heat maps of the evidence for the predicted class.

    Args:
        model: A network built by `happysad.training.network.build_network`.
        crops: ``uint8 [N, S, S, 3]``, RGB.

    Returns:
        ``float32 [N, S, S]``, 0–1, each scaled to its own maximum; all 0 where nothing in a crop
        speaks for the class.
    """
    backbone = keras.Model(model.inputs, model.get_layer("pool").input)
    features = np.asarray(backbone.predict_on_batch(crops), dtype=np.float32)
    logits, gradient = _head(model, features.mean(axis=(1, 2)))
    toward = np.where(logits >= 0, 1, -1)[:, None, None]
    heat = np.maximum(toward * np.einsum("nhwc,nc->nhw", features, gradient), 0)
    # Normalised after resizing, so that rounding cannot exceed the range.
    large = np.stack([_resize(one, crops.shape[1]) for one in heat]).clip(0)
    peak = large.max(axis=(1, 2), keepdims=True)
    scaled: Heat = np.divide(large, peak, out=np.zeros_like(large), where=peak > 0)
    return scaled


def _head(model: keras.Model, pooled: Heat) -> tuple[Heat, Heat]:
    """Return the logits ``[N]`` and their gradient with respect to ``pooled``, ``[N, C]``."""
    *hidden, last = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    values, masks = pooled, []
    for layer in hidden:
        kernel, bias = layer.get_weights()
        values = np.maximum(values @ kernel + bias, 0)
        masks.append(values > 0)
    kernel, bias = last.get_weights()
    if kernel.shape[1] > 1:
        # The log odds of happy against sad: a softmax's equivalent of the sigmoid's logit.
        kernel, bias = kernel[:, 1:2] - kernel[:, :1], bias[1:2] - bias[:1]
    gradient = np.repeat(kernel.T, len(pooled), axis=0)
    for layer, mask in zip(reversed(hidden), reversed(masks), strict=True):
        gradient = (gradient * mask) @ layer.get_weights()[0].T
    return (values @ kernel + bias)[:, 0], gradient


def _resize(heat: Heat, size: int) -> Heat:
    return np.asarray(Image.fromarray(heat).resize((size, size), Image.Resampling.BICUBIC))
