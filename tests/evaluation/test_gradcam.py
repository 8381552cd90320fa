import keras
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from happysad.evaluation.gradcam import grad_cam


@pytest.fixture
def crops() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


def test_heat_maps_equal_numerical_gradients(
    tiny_network: keras.Model, crops: npt.NDArray[np.uint8]
) -> None:
    pool = tiny_network.get_layer("pool")
    features = keras.Model(tiny_network.inputs, pool.input).predict(crops, verbose=0)
    head = keras.Model(pool.input, tiny_network.get_layer("logit").output)
    _, height, width, channels = features.shape
    step = 1e-2
    for crop, feature in zip(crops, features, strict=True):
        nudges = np.eye(feature.size, dtype=np.float32).reshape(-1, height, width, channels) * step
        logit = head.predict(feature[None], verbose=0)[0, 0]
        up = head.predict(feature + nudges, verbose=0)[:, 0]
        down = head.predict(feature - nudges, verbose=0)[:, 0]
        slope = ((up - down) / (2 * step)).reshape(height, width, channels)
        importance = slope.mean(axis=(0, 1)) * (1 if logit >= 0 else -1)
        coarse = np.maximum(feature @ importance, 0).astype(np.float32)
        shape = (crop.shape[1], crop.shape[0])
        fine = np.asarray(Image.fromarray(coarse).resize(shape, Image.Resampling.BICUBIC)).clip(0)
        np.testing.assert_allclose(
            grad_cam(tiny_network, crop[None])[0], fine / fine.max(), atol=0.02
        )


def test_heat_covers_the_crop_and_stays_within_bounds(
    tiny_network: keras.Model, crops: npt.NDArray[np.uint8]
) -> None:
    heat = grad_cam(tiny_network, crops)
    assert heat.shape == (6, 32, 32)
    assert heat.dtype == np.float32
    assert heat.min() >= 0
    assert np.allclose(heat.max(axis=(1, 2)), 1)


def test_no_evidence_gives_no_heat(tiny_network: keras.Model, crops: npt.NDArray[np.uint8]) -> None:
    blind = keras.models.clone_model(tiny_network)
    blind.set_weights([np.zeros_like(weight) for weight in tiny_network.get_weights()])
    assert not grad_cam(blind, crops).any()
