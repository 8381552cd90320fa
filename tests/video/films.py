"""Videos of a moving bar, in any container and codec."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np

from happysad.image import RgbImage

COUNT, RATE, SIZE = 60, 30.0, (160, 120)


def image(number: int) -> RgbImage:
    """Red above, blue below; a white bar that moves to the right."""
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    image[: SIZE[1] // 2] = (200, 30, 30)
    image[SIZE[1] // 2 :] = (30, 30, 200)
    image[:, 2 * number : 2 * number + 8] = 255
    return image


def encode(
    path: Path,
    codec: str = "mpeg4",
    times: Sequence[float] = tuple(np.arange(COUNT) / RATE),
    *,
    sound: float = 0,
    sound_rate: int = 48_000,
    aspect: Fraction | None = None,
    container: str | None = None,
    size: tuple[int, int] = SIZE,
) -> Path:
    """Write `image` at each of the times, and so many seconds of a tone."""
    with av.open(str(path), "w", format=container) as output:
        stream = cast("av.VideoStream", output.add_stream(codec, rate=round(RATE)))
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.max_b_frames = 0
        if codec not in ("mjpeg", "mpeg2video", "mpeg4"):
            stream.codec_context.time_base = Fraction(1, 1000)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        tone = None
        if sound:
            name = "mp2" if codec == "mpeg2video" else "aac"
            tone = cast("av.AudioStream", output.add_stream(name, rate=sound_rate, layout="mono"))
        for number, seconds in enumerate(times):
            frame = av.VideoFrame.from_ndarray(image(number % COUNT), format="rgb24")
            frame.time_base = Fraction(1, 1000)
            frame.pts = round(1000 * seconds)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if tone:
            wave = np.sin(np.arange(round(48_000 * sound)) / 20).astype(np.float32)
            samples = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
            samples.rate, samples.pts, samples.time_base = 48_000, 0, Fraction(1, 48_000)
            output.mux(tone.encode(samples))
            output.mux(tone.encode(None))
    return path
