"""The face detection network: YuNet on LiteRT, on canvases of a few sizes."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from happysad.concurrency import PerThread
from happysad.image import RgbImage
from happysad.released import FACES, read_released

MAX_SIDE: Final = 640
"""Longest side of an image that can be searched, pixels."""

# Height and width, the smallest first: preparing the network for a size takes longer than running
# it, so there are few.
_CANVASES: Final = (
    (160, 160),
    (224, 224),
    (256, 320),
    (320, 256),
    (320, 320),
    (384, 384),
    (480, 640),
    (640, 480),
    (MAX_SIDE, MAX_SIDE),
)

_MAX_IOU: Final = 0.3


class YuNet:
    """Detects faces in small images.

    Faces of about 10 to 300 pixels are found. May be used from several threads and may be pickled:
    each thread has its own interpreters, one per canvas size, made on first use.

    Source: Wu, Peng and Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector".
    """

    def __init__(self) -> None:
        """Load the network.

        Raises:
            ModelError: The bundled file is missing or damaged.
        """
        self._model = read_released(FACES)
        self._interpreters: PerThread[dict[tuple[int, int], Any]] = PerThread(dict)

    def detect(self, image: RgbImage, min_score: float) -> npt.NDArray[np.float32]:
        """Detect faces.

        Args:
            image: ``uint8 [height, width, 3]``, RGB, neither side over `MAX_SIDE`.
            min_score: Detections with a lower score are dropped.

        Returns:
            ``float32 [N, 15]``, the highest score first: left, top, width, height, then x and y of
            right eye, left eye, nose, right and left corner of the mouth, in pixels; score 0–1.
        """
        height, width = image.shape[:2]
        canvas = next(c for c in _CANVASES if c[0] >= height and c[1] >= width)
        interpreters = self._interpreters.get()
        if canvas not in interpreters:
            interpreters[canvas] = self._prepare(canvas)
        interpreter = interpreters[canvas]
        padded = np.zeros((1, *canvas, 3), np.uint8)
        padded[0, :height, :width] = image
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], padded)
        interpreter.invoke()
        rows = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
        return suppress_overlaps(rows[rows[:, 14] >= min_score])

    def _prepare(self, canvas: tuple[int, int]) -> Any:
        interpreter = Interpreter(model_content=self._model, num_threads=1)
        index = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(index, (1, *canvas, 3))
        interpreter.allocate_tensors()
        return interpreter


def suppress_overlaps(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Apply non-maximum suppression to rows as `YuNet.detect` returns them."""
    rows = rows[np.argsort(-rows[:, 14], kind="stable")]
    ends, areas = rows[:, :2] + rows[:, 2:4], rows[:, 2] * rows[:, 3]
    kept: list[int] = []
    left = np.arange(len(rows))
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        sides = np.minimum(ends[best], ends[left]) - np.maximum(rows[best, :2], rows[left, :2])
        common = sides.clip(0).prod(axis=1)
        left = left[common <= _MAX_IOU * (areas[best] + areas[left] - common)]
    return rows[kept]
