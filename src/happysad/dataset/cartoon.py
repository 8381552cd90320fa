"""A random cartoon person with a happy or a sad expression."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import ImageColor, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

_SKIN: Final = ("ffe0c7", "f6c9a0", "e8b08a", "d29a6a", "b97a50", "986444", "7d5038", "664030")
_HAIR: Final = ("1d1816", "3a2618", "6a4526", "a4713a", "d9b26a", "b5482a", "9a9a9a", "e7e2da")
# fmt: off
_PAINT: Final = (
    "f4a259", "5b8e7d", "8cb369", "bc4b51", "4a6fa5", "c8a2c8",
    "f2d0a9", "3d5a6c", "99c1de", "e5989b", "ffd166", "7a6c5d",
)
# fmt: on
_EYES: Final = ("4a2f1b", "5c4033", "2f4f6f", "5f7f4f", "222222")
_STYLES: Final = ("short", "long", "bun", "curls", "fringe", "bald")
_LINE: Final = (43, 30, 28)
_WHITE: Final = (250, 250, 246)
_CIRCLE: Final = [(float(np.cos(a)), float(np.sin(a))) for a in np.linspace(0, 2 * np.pi, 37)]


@dataclass(frozen=True)
class Pen:
    """Draws in the face's own units: its centre is (0, 0), y points to the chin.

    Attributes:
        draw: Where to draw.
        centre: The face's centre in pixels.
        unit: Pixels per unit, about half the image's side.
        angle: How far the head is turned, in radians.
    """

    draw: ImageDraw.ImageDraw
    centre: Point
    unit: float
    angle: float

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        """Fill an ellipse with the radii ``rx`` and ``ry``."""
        self.shape([(x + rx * c, y + ry * s) for c, s in _CIRCLE], fill)

    def ring(self, x: float, y: float, rx: float, ry: float, width: float, fill: Colour) -> None:
        """Draw the outline of an ellipse."""
        self.line([(x + rx * c, y + ry * s) for c, s in _CIRCLE], width, fill)

    def shape(self, points: Sequence[Point], fill: Colour) -> None:
        """Fill a polygon."""
        self.draw.polygon(self._place(points), fill=fill)

    def line(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """Draw a line with round ends."""
        pixels = max(1, round(width * self.unit))
        self.draw.line(self._place(points), fill=fill, width=pixels, joint="curve")
        for x, y in (points[0], points[-1]):
            self.oval(x, y, width / 2, width / 2, fill)

    def _place(self, points: Sequence[Point]) -> list[Point]:
        x, y = np.array(points).T * self.unit
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        across, down = self.centre
        placed = np.stack([across + cos * x - sin * y, down + sin * x + cos * y], axis=1)
        return list(map(tuple, placed.tolist()))


def draw_person(pen: Pen, label: int, rng: np.random.Generator) -> None:
    """Draw head, hair, shoulders and expression; the label is 0 for sad, 1 for happy."""
    skin, hair = _pick(_SKIN, rng), _pick(_HAIR, rng)
    style = rng.choice(_STYLES)
    width, height = rng.uniform(0.5, 0.62), rng.uniform(0.64, 0.76)
    _draw_body(pen, rng, skin)
    _draw_hair_behind(pen, style, hair, width, height)
    shade = _mix(skin, _LINE, 0.18)
    for x in (-width, width):
        pen.oval(x, 0.05, 0.1, 0.15, shade)
    pen.oval(0, 0, width, height, skin)
    # A jaw: the lower half of the oval made squarer or left as it is.
    jaw = rng.uniform(0.5, 0.85)
    pen.oval(0, height * 0.35, width * jaw, height * 0.66, skin)
    if rng.random() < 0.5:
        blush = _mix(skin, (226, 92, 92), rng.uniform(0.15, 0.4))
        for x in (-0.6, 0.6):
            pen.oval(x * width, 0.2, 0.12, 0.09, blush)
    _draw_hair_front(pen, style, hair, width, height, rng)
    _draw_features(pen, label, rng, skin, hair if style != "bald" else _LINE, width)


def _draw_body(pen: Pen, rng: np.random.Generator, skin: Colour) -> None:
    shirt = paint(rng)
    neck = _mix(skin, _LINE, 0.25)
    shoulders = rng.uniform(0.75, 1.05)
    pen.oval(0, 1.4, shoulders, 0.65, shirt)
    pen.shape([(-0.2, 0.4), (0.2, 0.4), (0.22, 0.9), (-0.22, 0.9)], neck)
    pen.oval(0, 0.88, 0.24, 0.1, neck)


def _draw_hair_behind(pen: Pen, style: str, hair: Colour, width: float, height: float) -> None:
    dark = _mix(hair, (0, 0, 0), 0.2)
    if style == "long":
        pen.oval(0, -0.1, width + 0.16, height + 0.1, dark)
        for x in (-1, 1):
            pen.oval(x * (width + 0.02), 0.45, 0.15, 0.6, dark)
    elif style == "bun":
        pen.oval(0, -height - 0.12, 0.24, 0.2, dark)
        pen.oval(0, -0.12, width + 0.06, height, dark)
    elif style == "curls":
        for angle in np.linspace(np.pi * 0.9, np.pi * 2.1, 13):
            x, y = np.cos(angle) * (width + 0.04), np.sin(angle) * (height - 0.02)
            pen.oval(x, y, 0.19, 0.19, dark)


def _draw_hair_front(
    pen: Pen, style: str, hair: Colour, width: float, height: float, rng: np.random.Generator
) -> None:
    if style == "bald":
        return
    # The hair: the upper part of the head above a hairline that sags towards one side.
    line, parting = -height * rng.uniform(0.45, 0.6), rng.uniform(-0.6, 0.6)
    angles = np.linspace(np.pi * 1.02, np.pi * 1.98, 25)
    rim = [(np.cos(a) * (width + 0.05), np.sin(a) * (height + 0.06)) for a in angles]
    across = np.linspace(1, -1, 25)
    if style == "fringe":
        edge = [(x * width * 0.97, line * 0.72 + 0.03 * np.cos(9 * x)) for x in across]
    else:
        edge = [(x * width, line * (1.12 - 0.55 * abs(x - parting * 0.6) ** 1.6)) for x in across]
    pen.shape([*rim, *edge], hair)
    if style == "curls":
        for x in np.linspace(-0.85, 0.85, 7):
            pen.oval(x * width, line * (1.25 - 0.5 * x * x), 0.14, 0.13, hair)


def _draw_features(
    pen: Pen, label: int, rng: np.random.Generator, skin: Colour, hair: Colour, width: float
) -> None:
    """Draw the expression (mouth, brows, in part the eyes), the nose and the glasses."""
    sign = 1 if label else -1
    # Most expressions are plain, a few slight.
    strength = 0.25 + 0.75 * rng.beta(3, 1.6)
    pen_width = rng.uniform(0.035, 0.065)
    apart, eye_y = width * rng.uniform(0.42, 0.52), rng.uniform(-0.12, -0.04)
    _draw_eyes(pen, rng, apart, eye_y, label if rng.random() < 0.12 else None)
    brow_y = eye_y - rng.uniform(0.19, 0.25)
    for side in (-1, 1):
        _draw_brow(pen, side, apart, brow_y, sign, strength, pen_width, _mix(hair, _LINE, 0.4))
    shade = _mix(skin, _LINE, 0.35)
    nose, nose_width = rng.uniform(0.16, 0.24), rng.uniform(0.05, 0.1)
    curve = np.linspace(-1, 1, 9)
    pen.line([(x * nose_width, nose + 0.03 * (1 - x * x)) for x in curve], pen_width * 0.8, shade)
    _draw_mouth(pen, rng, sign * strength, pen_width, skin)
    if rng.random() < 0.25:
        _draw_glasses(pen, rng, apart, eye_y, width)


def _draw_eyes(
    pen: Pen, rng: np.random.Generator, apart: float, y: float, closed: int | None
) -> None:
    """Draw open eyes, or closed ones: curved upwards for happy (1), downwards for sad (0)."""
    iris, radius = _pick(_EYES, rng), rng.uniform(0.085, 0.12)
    dots = rng.random() < 0.3
    look_x, look_y = rng.normal(0, 0.018), rng.normal(0, 0.012)
    for x in (-apart, apart):
        if closed is not None:
            bulge = -0.05 if closed else 0.05
            curve = np.linspace(-1, 1, 11)
            pen.line([(x + a * radius, y + bulge * (1 - a * a)) for a in curve], 0.045, _LINE)
        elif dots:
            pen.oval(x, y, radius * 0.55, radius * 0.65, _LINE)
            pen.oval(x + 0.02, y - 0.025, 0.016, 0.016, _WHITE)
        else:
            pen.oval(x, y, radius * 1.2, radius * 0.92, _LINE)
            pen.oval(x, y, radius * 1.08, radius * 0.8, _WHITE)
            pen.oval(x + look_x, y + look_y, radius * 0.6, radius * 0.66, iris)
            pen.oval(x + look_x, y + look_y, radius * 0.3, radius * 0.34, (15, 12, 12))
            pen.oval(x + look_x + 0.025, y + look_y - 0.03, 0.02, 0.02, _WHITE)


def _draw_brow(
    pen: Pen,
    side: int,
    apart: float,
    y: float,
    sign: int,
    strength: float,
    pen_width: float,
    colour: Colour,
) -> None:
    along = np.linspace(-1, 1, 11)  # from the outer end to the inner one
    if sign > 0:
        heights = y - 0.06 * strength * (1 - along**2)
    else:
        heights = y + 0.02 - 0.1 * strength * along - 0.02 * (1 - along**2)
    points = [(side * (apart - a * 0.14), h) for a, h in zip(along, heights, strict=True)]
    pen.line(points, pen_width, colour)


def _draw_mouth(
    pen: Pen, rng: np.random.Generator, bend: float, pen_width: float, skin: Colour
) -> None:
    """Draw a mouth whose corners are up (``bend`` above 0) or down (below 0), -1 to 1."""
    half, y = rng.uniform(0.17, 0.28), rng.uniform(0.38, 0.44)
    skew = rng.normal(0, 0.012)
    along = np.linspace(-1, 1, 17)
    depth = 0.15 * bend
    line = [(a * half, y + depth * (0.5 - a * a) + skew * a) for a in along]
    if rng.random() < 0.45:
        # Open: the space between the mouth's line and a second one, deeper by the opening.
        opening = rng.uniform(0.06, 0.16) * (0.5 + 0.5 * abs(bend))
        far = [
            (a * half, py + opening * (1 - a * a) ** 0.7)
            for a, (_, py) in zip(along, line, strict=True)
        ]
        pen.shape([*line, *far[::-1]], (112, 32, 38))
        if rng.random() < 0.6:
            pen.shape([*line[2:-2], *[(x, py + opening * 0.3) for x, py in line[-4:3:-1]]], _WHITE)
        pen.line(far, pen_width * 0.8, _LINE)
    elif rng.random() < 0.4:
        pen.line(line, pen_width * 2, _mix(skin, (190, 60, 70), 0.6))
    pen.line(line, pen_width, _LINE)


def _draw_glasses(pen: Pen, rng: np.random.Generator, apart: float, y: float, width: float) -> None:
    colour = _mix(paint(rng), (0, 0, 0), 0.6)
    radius = min(apart * 0.82, 0.2)
    tall = radius * rng.uniform(0.75, 1)
    for side in (-1, 1):
        pen.ring(side * apart, y, radius, tall, 0.035, colour)
        pen.line([(side * (apart + radius), y), (side * width, y - 0.03)], 0.035, colour)
    pen.line([(radius - apart, y), (apart - radius, y)], 0.035, colour)


def paint(rng: np.random.Generator) -> Colour:
    """Choose a colour for clothes and walls."""
    return _pick(_PAINT, rng)


def _pick(colours: Sequence[str], rng: np.random.Generator) -> Colour:
    """Choose a colour and shift it a little."""
    base = ImageColor.getrgb(f"#{rng.choice(colours)}")
    return _colour(np.array(base[:3]) + rng.normal(0, 6, 3))


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    return _colour(np.array(first) * (1 - share) + np.array(second) * share)


def _colour(values: Sequence[float] | npt.NDArray[np.float64]) -> Colour:
    red, green, blue = np.clip(np.round(values), 0, 255).astype(int).tolist()
    return red, green, blue
