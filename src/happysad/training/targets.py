"""Training targets: what the network should output for each crop, and the crop's weight."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from happysad.prediction import LABELS
from happysad.training.recipe import Recipe

FloatArray = npt.NDArray[np.float32]


def make_targets(
    shares: FloatArray, training: npt.NDArray[np.intp], recipe: Recipe
) -> tuple[FloatArray, FloatArray]:
    """Return each crop's target and weight.

    Args:
        shares: ``float32 [N, 3]``: shares of people who call the face sad, happy, neither.
        training: Indices of the training crops.
        recipe: The recipe.

    Returns:
        Targets ``[N, 3]`` for a softmax, or P(happy) among happy and sad, ``[N, 1]``, for a
        sigmoid; and weights ``[N]``. A face without votes for happy or sad has weight 0 for a
        sigmoid.
    """
    weights = np.ones(len(shares), np.float32)
    two = shares[:, :2].sum(axis=1)
    happy = shares[:, 1:2] / np.maximum(two, 1e-9)[:, None]
    if recipe.output == "sigmoid":
        weights[two == 0] = 0
    if recipe.class_weights:
        sums = shares[training, :2].sum(axis=0)
        # Linear in the shares: a contested face weighs as much as its votes do together.
        sad_weight, happy_weight = sums.sum() / (2 * np.maximum(sums, 1e-9))
        weights *= happy[:, 0] * happy_weight + (1 - happy[:, 0]) * sad_weight
        if recipe.output == "softmax":
            weights[two == 0] = 1
    return (happy if recipe.output == "sigmoid" else shares).astype(np.float32), weights


def mostly_happy_or_sad(
    shares: npt.NDArray[np.floating],
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint8]]:
    """Return which faces are mostly called happy or sad, ``bool [N]``, and the labels of these.

    Their most frequent answer is happy or sad; where both are equally frequent, the label is happy.
    """
    two = shares.argmax(axis=1) < len(LABELS)
    labels = (shares[two, 1] >= shares[two, 0]).astype(np.uint8)
    return two, labels


def binary_accuracy(targets: Any, outputs: Any) -> Any:
    """Return 1 for crops on the right side of one half, else 0, ``float32 [B]``."""
    right = keras.ops.equal(keras.ops.greater(outputs, 0.5), keras.ops.greater(targets, 0.5))
    return keras.ops.cast(right[:, 0], "float32")
