"""Draw predictions into an image: each face's box, label and score."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from happysad.image import RgbImage
from happysad.prediction import Label, Prediction

COLOURS: Final[dict[Label, tuple[int, int, int]]] = {
    "happy": (240, 180, 30),
    "sad": (110, 190, 250),
    "uncertain": (235, 235, 235),
}
"""Yellow and blue are distinguishable with every kind of colour vision and light, so that black
text and outlines stand out. After Okabe and Ito, *Color Universal Design*, 2008."""

COPY_MARK: Final = "happysad predict --annotate"
"""Metadata by which a saved copy is recognised: only copies are overwritten."""

_INK: Final = (0, 0, 0)
_SMALLEST: Final = 11

Area: TypeAlias = tuple[int, int, int, int]
"""``(left, top, right, bottom)`` in whole pixels."""


def annotate(
    image: RgbImage, predictions: Sequence[Prediction], names: Sequence[str] | None = None
) -> RgbImage:
    """Draw predictions into a copy of an image.

    Args:
        image: ``uint8 [height, width, 3]``, RGB.
        predictions: The predictions for its faces.
        names: A prefix for each label, such as a person's name.

    Returns:
        An image of the same shape. Each face has a box with a caption like ``happy 0.98``: the
        label and its score. Lines and text scale with the image and the face; captions do not
        overlap where there is room.
    """
    drawn = np.array(image)
    height, width = drawn.shape[:2]
    prefixes = [f"{name}: " for name in names] if names else [""] * len(predictions)
    boxes = [_clip(prediction, width, height) for prediction in predictions]
    for box, prediction in zip(boxes, predictions, strict=True):
        _draw_frame(drawn, box, COLOURS[prediction.label])
    taken: list[Area] = []
    for box, prediction, prefix in zip(boxes, predictions, prefixes, strict=True):
        text = f"{prefix}{prediction.label} {_score(prediction):.2f}"
        caption = _fit_caption(text, COLOURS[prediction.label], _text_height(box, drawn), width)
        place = _place(caption.shape[1], caption.shape[0], box, taken, width, height)
        _paste(drawn, caption, place[0], place[1])
        taken.append(place)
    return drawn


def _score(prediction: Prediction) -> float:
    """Return the score of the label; of "uncertain", the larger one."""
    happy, sad = prediction.scores.happy, prediction.scores.sad
    return {"happy": happy, "sad": sad, "uncertain": max(happy, sad)}[prediction.label]


def _clip(prediction: Prediction, width: int, height: int) -> Area:
    """Round a box to whole pixels and clip it to the image."""
    left, top, across, down = prediction.face.box
    x0, x1 = (round(min(max(x, 0), width)) for x in (left, left + across))
    y0, y1 = (round(min(max(y, 0), height)) for y in (top, top + down))
    return x0, y0, x1, y1


def _text_height(box: Area, image: RgbImage) -> int:
    """Return the text height in pixels: a fraction of the face, within limits of the image."""
    side: float = min(image.shape[:2])
    return max(_SMALLEST, round(min(max((box[2] - box[0]) / 5, side / 100), side / 20)))


def _draw_frame(image: RgbImage, box: Area, colour: tuple[int, int, int]) -> None:
    left, top, right, bottom = box
    side = min(right - left, bottom - top)
    if side <= 0:
        return
    line = max(1, round(min(min(image.shape[:2]) / 200, side / 15)))
    outline = max(1, line // 3)
    for inset, thick, paint in ((0, line + 2 * outline, _INK), (outline, line, colour)):
        x0, y0, x1, y1 = left + inset, top + inset, right - inset, bottom - inset
        image[y0 : y0 + thick, x0:x1] = paint
        image[max(0, y1 - thick) : y1, x0:x1] = paint
        image[y0:y1, x0 : x0 + thick] = paint
        image[y0:y1, max(0, x1 - thick) : x1] = paint


def _fit_caption(text: str, colour: tuple[int, int, int], text_height: int, width: int) -> RgbImage:
    """Draw a caption; in a narrow image smaller, and then with one word per line."""
    below = text.replace(" ", "\n")
    for words, size in ((text, text_height), (text, _SMALLEST), (below, _SMALLEST), (below, 9)):
        caption = _caption(words, colour, size)
        if caption.shape[1] <= width:
            break
    return caption


# The frames of a video repeat the same few captions.
@lru_cache(maxsize=512)
def _caption(text: str, colour: tuple[int, int, int], text_height: int) -> RgbImage:
    font, padding = _font(text_height), max(2, text_height // 5)
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    left, top, right, bottom = pen.multiline_textbbox((0, 0), text, font=font, spacing=2)
    # Of equal height, with and without descenders: "sad" and "happy".
    lines = text.count("\n")
    top, bottom = min(top, 0), max(bottom, round(text_height * 1.25 * (1 + lines)))
    size = (round(right - left) + 2 * padding, round(bottom - top))
    caption = Image.new("RGB", size, colour)
    ImageDraw.Draw(caption).multiline_text((padding - left, -top), text, _INK, font=font, spacing=2)
    return np.asarray(caption)


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _place(
    across: int, down: int, box: Area, taken: Sequence[Area], width: int, height: int
) -> Area:
    """Choose a caption's position: next to its box, within the image, clear of other captions."""
    left, top, right, bottom = box
    corners = (
        (left, top - down),
        (left, bottom),
        (right - across, top - down),
        (right - across, bottom),
        (left, top),
        (left, bottom - down),
    )
    areas = []
    for x, y in corners:
        x, y = max(0, min(x, width - across)), max(0, min(y, height - down))
        areas.append((x, y, x + across, y + down))
    # A caption that was moved into the image covers its own face: the last resort.
    free = [area for area in areas if not any(_overlap(area, other) for other in taken)]
    clear = [area for area in free if not _overlap(area, box)]
    return (clear or free or areas)[0]


def _overlap(first: Area, second: Area) -> bool:
    return (
        first[0] < second[2]
        and second[0] < first[2]
        and first[1] < second[3]
        and second[1] < first[3]
    )


def _paste(image: RgbImage, caption: RgbImage, left: int, top: int) -> None:
    part = image[top : top + caption.shape[0], left : left + caption.shape[1]]
    part[:] = caption[: part.shape[0], : part.shape[1]]
