"""What a stage wants the network to say of each crop, and how much each crop weighs."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from happysad.prediction import LABELS
from happysad.training.checkpoint import Arrays
from happysad.training.recipe import Recipe, Stage


def make_targets(
    labels: npt.NDArray[np.uint8],
    training: npt.NDArray[np.intp],
    recipe: Recipe,
    stage: Stage,
    opinions: Arrays,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Give each crop its target, ``[N, 1]`` or one-hot ``[N, classes]``, and its weight ``[N]``."""
    weights = np.ones(len(labels), np.float32)
    targets = np.eye(int(labels.max()) + 1, dtype=np.float32)[labels]
    binary = labels < len(LABELS)
    if stage.distillation:
        learnt = opinions[0].copy()
        if stage.task == "happy-sad":
            # Of a face that is known to be one of the two, only which one is in question.
            learnt[binary, len(LABELS) :] = 0
            learnt /= learnt.sum(axis=1, keepdims=True)
        targets += np.float32(stage.distillation) * (learnt - targets)
    if stage.task == "emotions":
        return targets, weights
    if recipe.class_weights:
        counts = np.bincount(labels[training])[: len(LABELS)]
        for label, count in enumerate(counts):
            weights[labels == label] = counts.sum() / (len(LABELS) * count)
    weights[~binary] = stage.neither
    return targets[:, 1:2] + targets[:, 2:].sum(axis=1, keepdims=True) / 2, weights


def mixed(values: npt.NDArray[np.float32], blend: float) -> npt.NDArray[np.float32]:
    """Mix a batch's targets or weights as `batches` mixed its crops."""
    own: npt.NDArray[np.float32] = np.float32(blend) * values
    return own + np.float32(1 - blend) * values[::-1]


def binary_accuracy(targets: Any, outputs: Any) -> Any:
    """Share of right answers, ``[B]``; a face that is neither is right by nature."""
    half = keras.ops.equal(targets, 0.5)
    right = keras.ops.equal(keras.ops.greater(outputs, 0.5), keras.ops.greater(targets, 0.5))
    return keras.ops.cast(keras.ops.logical_or(half, right)[:, 0], "float32")
