"""Gallery of the most confident mistakes, with heat maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image

from happysad.image import RgbImage
from happysad.plots import contact_sheet
from happysad.prediction import LABELS


@dataclass(frozen=True)
class Mistake:
    """An image on the wrong side of the threshold.

    Attributes:
        name: Path of the file within its dataset.
        crop: ``uint8 [S, S, 3]``, RGB.
        label: The true label, 0 = sad, 1 = happy.
        probability: P(happy), 0–1.
        heat: Grad-CAM map ``float32 [S, S]``, 0–1; None without a Keras model.
    """

    name: str
    crop: RgbImage
    label: int
    probability: float
    heat: npt.NDArray[np.float32] | None

    @property
    def image(self) -> RgbImage:
        """The crop, next to its heat map if there is one: ``uint8 [S, S or 2S, 3]``."""
        if self.heat is None:
            return self.crop
        return np.concatenate([self.crop, overlay(self.crop, self.heat)], axis=1)


def most_confident(
    labels: npt.NDArray[np.uint8],
    probabilities: npt.NDArray[np.float64],
    threshold: float,
    count: int,
) -> list[int]:
    """Find the mistakes farthest from the threshold.

    Args:
        labels: ``[N]``, 0 = sad, 1 = happy.
        probabilities: ``[N]``, P(happy), 0–1.
        threshold: Probability from which a face counts as happy.
        count: Maximum number of mistakes.

    Returns:
        Their indices, the most confident first.
    """
    wrong = (probabilities >= threshold) != labels.astype(bool)
    distance = np.where(wrong, np.abs(probabilities - threshold), -1)
    order = np.argsort(-distance, kind="stable")[: min(count, int(wrong.sum()))]
    return [int(position) for position in order]


def plot_mistakes(mistakes: Sequence[Mistake], path: Path) -> None:
    """Write a contact sheet of the mistakes with true label, P(happy) and file name."""
    captions = [
        f"labelled {LABELS[mistake.label]}, P(happy) {mistake.probability:.3f}\n{mistake.name}"
        for mistake in mistakes
    ]
    images = [mistake.image for mistake in mistakes]
    wide = bool(mistakes) and mistakes[0].heat is not None
    title = "Most confident mistakes"
    contact_sheet(images, captions, path, columns=4 if wide else 6, title=title)


def overlay(crop: RgbImage, heat: npt.NDArray[np.float32]) -> RgbImage:
    """Overlay a heat map on the grey version of its crop.

    Args:
        crop: ``uint8 [S, S, 3]``, RGB.
        heat: ``float32 [S, S]``, 0–1.

    Returns:
        ``uint8 [S, S, 3]``, RGB: the more evidence, the more and the brighter the colour.
    """
    grey = np.asarray(Image.fromarray(crop).convert("L"), dtype=np.float32)[..., None]
    colour = colormaps["inferno"](heat)[..., :3] * 255
    share = 0.7 * heat[..., None]
    blended: RgbImage = ((1 - share) * grey + share * colour).astype(np.uint8)
    return blended
