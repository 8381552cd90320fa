"""Data augmentation: geometry, light, and degradation by cameras and compression."""

import cv2
import numpy as np

from happysad.image import RgbImage
from happysad.training.recipe import Augmentation

# Crops are augmented in several threads; OpenCV's own threads would compete with them.
cv2.setNumThreads(1)


def augment(crop: RgbImage, augmentation: Augmentation, rng: np.random.Generator) -> RgbImage:
    """Return a randomly augmented copy of a crop.

    Rotation, zoom, translation and flip are one affine transform, so pixels are interpolated once;
    the border is mirrored. The same generator state gives the same result.

    Args:
        crop: ``uint8 [size, size, 3]``, RGB.
        augmentation: The transformations and their ranges.
        rng: The random generator.

    Returns:
        ``uint8 [size, size, 3]``, RGB.
    """
    crop = _move(crop, augmentation, rng)
    if augmentation.contrast or augmentation.brightness:
        gain = 1 + rng.uniform(-augmentation.contrast, augmentation.contrast)
        offset = 255 * rng.uniform(-augmentation.brightness, augmentation.brightness)
        levels = (np.arange(256) - 127.5) * gain + 127.5 + offset
        crop = cv2.LUT(crop, levels.clip(0, 255).astype(np.uint8))
    if rng.random() < augmentation.grey:
        crop = cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < augmentation.occlusion:
        crop = _occlude(crop, rng)
    if rng.random() < augmentation.blur:
        crop = cv2.GaussianBlur(crop, (0, 0), len(crop) / 96 * rng.uniform(0.4, 1.6))
    if rng.random() < augmentation.low_resolution:
        side = max(8, int(len(crop) * rng.uniform(0.2, 0.6)))
        small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
        crop = cv2.resize(small, (len(crop), len(crop)), interpolation=cv2.INTER_LINEAR)
    if rng.random() < augmentation.noise:
        # One value for all three channels: grey crops stay grey.
        noise = rng.normal(0, rng.uniform(3, 25), (*crop.shape[:2], 1))
        crop = (crop + noise).clip(0, 255).astype(np.uint8)
    if rng.random() < augmentation.jpeg:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 75))]
        crop = np.asarray(cv2.imdecode(cv2.imencode(".jpg", crop, quality)[1], cv2.IMREAD_COLOR))
    return crop


def _move(crop: RgbImage, augmentation: Augmentation, rng: np.random.Generator) -> RgbImage:
    size = len(crop)
    middle = (size - 1) / 2
    angle = rng.uniform(-augmentation.rotation, augmentation.rotation)
    scale = 1 + rng.uniform(-augmentation.zoom, augmentation.zoom)
    shift = size * rng.uniform(-augmentation.translation, augmentation.translation, 2)
    flip = rng.random() < augmentation.flip
    if not (angle or scale != 1 or shift.any()):
        return np.ascontiguousarray(crop[:, ::-1]) if flip else crop
    matrix = cv2.getRotationMatrix2D((middle, middle), angle, scale)
    if flip:
        matrix = matrix @ np.array([[-1, 0, size - 1], [0, 1, 0], [0, 0, 1]])
    matrix[:, 2] += shift
    moved = cv2.warpAffine(
        crop, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(moved)


def _occlude(crop: RgbImage, rng: np.random.Generator) -> RgbImage:
    """Cover a part of the crop with a grey rectangle: Zhong et al. 2017, "Random Erasing"."""
    size = len(crop)
    sides = (size * rng.uniform(0.2, 0.6, 2)).astype(int)
    # It may extend beyond the border, so that borders are covered as often as the centre.
    left, top = (rng.uniform(-sides / 2, size - sides / 2)).astype(int)
    crop = crop.copy()
    covered = np.s_[max(0, top) : top + sides[1], max(0, left) : left + sides[0]]
    crop[covered] = rng.integers(256)
    return crop
