"""Draw known failures of the bundled model, with its prediction for each drawing.

python benchmarks/failures.py docs/known-failures.png

The drawings stand for the kinds of images that docs/model-card.md lists; nobody's face is shown.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from release import dark, rolled, small

from happysad.classifier import Classifier
from happysad.crops import fit_square
from happysad.dataset.cartoon import Pen
from happysad.image import RgbImage
from happysad.prediction import Scores

SIDE = 384
SKIN, SHADE, LINE, WHITE = (222, 170, 130), (196, 140, 104), (43, 30, 28), (250, 250, 246)


def sketch(mouth: float, *extras: str) -> RgbImage:
    """Draw a face whose mouth's corners are up (above 0), level or down (below 0), -1 to 1."""
    image = Image.new("RGB", (SIDE, SIDE), (150, 165, 175))
    pen = Pen(ImageDraw.Draw(image), (SIDE / 2, SIDE / 2), SIDE / 2, 0)
    pen.oval(0, -0.12, 0.8, 0.95, (70, 48, 36))
    pen.oval(0, 0.02, 0.7, 0.92, SKIN)
    pen.oval(0, -0.85, 0.62, 0.3, (70, 48, 36))
    along = np.linspace(-1, 1, 17)
    for side in (-1, 1):
        x = side * 0.28
        if "screwed up" in extras:
            pen.line([(x + a * 0.13, -0.15 - 0.08 * (1 - a * a)) for a in along], 0.035, LINE)
        else:
            pen.oval(x, -0.17, 0.13, 0.085, WHITE)
            pen.oval(x, -0.17, 0.07, 0.075, (74, 47, 27))
            pen.oval(x, -0.17, 0.035, 0.04, (10, 10, 10))
        inner = 0.09 * max(0.0, -mouth)
        pen.line([(x + a * 0.17, -0.36 + inner * a * side) for a in along], 0.05, (60, 40, 30))
        if "tears" in extras:
            pen.oval(x + side * 0.05, 0.08, 0.035, 0.12, (190, 220, 245))
        if mouth > 0:
            pen.line([(side * (0.2 + 0.16 * t), 0.2 + 0.25 * t) for t in (0, 0.5, 1)], 0.02, SHADE)
    pen.line([(0, -0.1), (-0.07, 0.18), (0.06, 0.2)], 0.03, SHADE)
    line = [(a * 0.3, 0.5 + 0.18 * mouth * (0.5 - a * a)) for a in along]
    if "open" in extras:
        far = [(x, y + 0.24 * (1 - a * a) ** 0.6) for a, (x, y) in zip(along, line, strict=True)]
        pen.shape([*line, *far[::-1]], (112, 32, 38))
        teeth = [(x, y + 0.07) for x, y in line[2:-2]]
        pen.shape([*line[2:-2], *teeth[::-1]], WHITE)
        pen.line(far, 0.03, (150, 80, 70))
    pen.line(line, 0.05, (150, 80, 70))
    if "hand" in extras:
        for finger in range(4):
            x = -0.36 + 0.2 * finger
            pen.line([(x - 0.12, 1.0), (x + 0.06, 0.34 + 0.02 * finger)], 0.21, SHADE)
            pen.line([(x - 0.12, 1.0), (x + 0.06, 0.34 + 0.02 * finger)], 0.17, SKIN)
    return np.asarray(image)


def main() -> None:
    """Draw the sheet."""
    rng = np.random.default_rng(0)
    smile, frown = sketch(1, "open"), sketch(-1)
    drawings = {
        "a smile": smile,
        "a frown": frown,
        "a face at rest": sketch(0),
        "a smile behind a hand": sketch(1, "open", "hand"),
        "tears of laughter": sketch(1, "open", "tears", "screwed up"),
        "a smile on its side": rolled(smile, 75),
        "a smile, 24 pixels": small(smile, rng),
        "a smile in the dark": dark(dark(smile, rng), rng),
    }
    classifier = Classifier()
    size = classifier.info.input_size
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    for axes, (name, drawing) in zip(figure.subplots(2, 4).flat, drawings.items(), strict=True):
        ((sad, happy),) = classifier.scores(fit_square(drawing, size)[None]).tolist()
        scores = Scores(happy, sad)
        p = scores.probability
        axes.imshow(drawing)
        axes.axis("off")
        axes.set_title(f"{name}\n{classifier.label(scores)}, P(happy) {p:.2f}", fontsize=9)
        print(f"{name}: {p:.2f}")
    figure.savefig(Path(sys.argv[1]), dpi=110)


if __name__ == "__main__":
    main()
