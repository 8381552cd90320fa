"""Drawn cartoon faces, happy and sad, for the demo and the tests.

A happy face has the mouth's corners up and relaxed brows; a sad one has the corners down and the
inner ends of the brows raised; closed eyes curve with the expression, too. Everything else (skin,
hair, clothes, glasses, light, pose, noise) is random, with the same distribution for both. A few
expressions are so slight that they are hard to recognise.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from happysad.dataset.cartoon import Pen, draw_person, paint
from happysad.errors import DatasetError
from happysad.files import atomic_folder
from happysad.image import RgbImage
from happysad.prediction import LABELS
from happysad.progress import track

_OVERSAMPLING: Final = 3


def draw_face(label: int, rng: np.random.Generator, size: int) -> RgbImage:
    """Draw one face.

    Args:
        label: 0 = sad, 1 = happy.
        rng: Random generator for everything else.
        size: Side of the image in pixels.

    Returns:
        ``uint8 [size, size, 3]``, RGB.
    """
    side = size * _OVERSAMPLING
    image = _background(rng, size).resize((side, side), Image.Resampling.BILINEAR)
    pen = Pen(
        draw=ImageDraw.Draw(image),
        centre=(side * (0.5 + rng.normal(0, 0.03)), side * (0.53 + rng.normal(0, 0.025))),
        unit=side / 2 * rng.uniform(0.92, 1.2),
        angle=rng.normal(0, 0.12),
    )
    draw_person(pen, label, rng)
    return _photographed(image.resize((size, size), Image.Resampling.BOX), rng)


def make_dataset(folder: Path, count: int, seed: int = 0, size: int = 96) -> None:
    """Draw a dataset: ``folder/happy`` and ``folder/sad`` with PNG files, half of each.

    ``folder`` is written atomically.

    Args:
        folder: The folder to create; it must not exist, or be empty.
        count: Number of faces, at least two.
        seed: Random seed.
        size: Side of the images in pixels.

    Raises:
        DatasetError: The folder is not empty, or the count is below two.
        HappysadError: The folder cannot be written.
    """
    if count < 2:
        raise DatasetError(f"{count} faces are not a dataset; draw at least 2, one of each class")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetError(f"{folder}: already exists; give a new folder or remove this one")
    with atomic_folder(folder) as partial:
        for name in LABELS:
            (partial / name).mkdir()
        for index in track(range(count), "Drawing faces"):
            label = index % len(LABELS)
            face = draw_face(label, np.random.default_rng((seed, index)), size)
            Image.fromarray(face).save(partial / LABELS[label] / f"face_{index:05d}.png")


def draw_scene(faces: Sequence[tuple[int, int]]) -> RgbImage:
    """Draw faces side by side on a plain background.

    Args:
        faces: For each face the class number and the random seed.

    Returns:
        ``uint8 [480, W, 3]``, RGB; W is 640 for one or two faces, 320 more for each further one.
    """
    side, ground = 300, (200, 210, 220)
    scene = np.full((480, 320 * max(2, len(faces)), 3), ground, np.uint8)
    step = scene.shape[1] // len(faces)
    for i, (label, seed) in enumerate(faces):
        left = i * step + (step - side) // 2
        scene[90 : 90 + side, left : left + side] = draw_face(
            label, np.random.default_rng(seed), side
        )
    return scene


def _background(rng: np.random.Generator, size: int) -> Image.Image:
    top, bottom = (np.array(paint(rng), np.float64) for _ in range(2))
    way = np.linspace(0, 1, size)[:, None, None]
    image = Image.fromarray(
        np.broadcast_to(top * (1 - way) + bottom * way, (size, size, 3)).astype(np.uint8)
    )
    draw, spots = ImageDraw.Draw(image), paint(rng)
    for _ in range(rng.integers(0, 5)):
        x, y = rng.uniform(0, size, 2)
        radius = rng.uniform(0.05, 0.3) * size
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=spots)
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.02) * size))


def _photographed(image: Image.Image, rng: np.random.Generator) -> RgbImage:
    """Add side light, contrast, blur and noise; make some images grey."""
    size = image.width
    if rng.random() < 0.25:
        image = image.convert("L").convert("RGB")
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.007) * size))
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.25) * (np.cos(angle) * x + np.sin(angle) * y)
    pixels = np.asarray(image, np.float64) * light[..., None]
    pixels = (pixels - 128) * rng.uniform(0.8, 1.1) + 132 + rng.normal(0, 12)
    pixels += rng.normal(0, rng.uniform(0, 6), (size, size, 1))
    face: RgbImage = pixels.clip(0, 255).astype(np.uint8)
    return face
