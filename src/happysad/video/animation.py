"""Animated GIF, PNG, WebP and AVIF images as frames, by Pillow."""

from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Final

import numpy as np
from PIL import Image

from happysad.errors import ImageError
from happysad.image import read_image
from happysad.video.decoding import Decoded
from happysad.video.kinds import ANIMATED

# Browsers show frames without a duration for so many milliseconds.
_DEFAULT: Final = 100.0


class AnimationReader:
    """An animated image, opened for decoding.

    Attributes:
        rate: None; each frame states its own duration.
        duration: None; it is known only after all frames were decoded.
        live: False.
        sound: False.
        damaged: 0; decoding ends at the first damaged frame.
    """

    rate: float | None = None
    duration: float | None = None
    live = sound = False
    damaged = 0

    def __init__(self, name: str, max_pixels: int) -> None:
        """Open an animation, for which `happysad.video.kinds.is_animation` holds.

        Args:
            name: A file.
            max_pixels: Maximum number of pixels per frame.
        """
        self._name, self._max_pixels = name, max_pixels
        self._image = Image.open(name, formats=sorted(ANIMATED))
        self._failed = False

    def decoded(self) -> Iterator[Decoded]:
        """Decode the frames in order, once; transparency is laid on white.

        Raises:
            ImageError: The first frame is damaged or too large.
        """
        milliseconds = 0.0
        for number in count():
            try:
                self._image.seek(number)
                pixels = read_image(self._image, max_pixels=self._max_pixels)
            except EOFError:
                # Only GIF files do not state how many frames they have.
                stated = 0 if self._image.format == "GIF" else getattr(self._image, "n_frames", 0)
                self._failed = number < stated
                return
            # Damaged files make Pillow raise nearly anything.
            except Exception as error:
                self._failed = True
                if isinstance(error, ImageError) and not number:
                    raise ImageError(error.reason, self._name) from error
                return
            yield milliseconds / 1000, partial(np.asarray, pixels)
            milliseconds += float(self._image.info.get("duration") or _DEFAULT)

    def ended_early(self) -> bool:
        """Return whether a frame could not be decoded."""
        return self._failed

    def close(self) -> None:
        """Close the file."""
        self._image.close()
