"""What a server allows: limits, keys and where the model is."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from happysad.errors import HappysadError
from happysad.image import MAX_PIXELS
from happysad.released import FOLDER, MODEL

VARIABLE: Final = "HAPPYSAD_SERVE_SETTINGS"
"""Hands the settings on to worker processes."""

METRICS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder where several worker processes add up their figures."""


@dataclass(frozen=True)
class Settings:
    """How a server works.

    Attributes:
        model: A `.tflite` file, or None for the released model.
        threads: Images that one worker process works on at once.
        queue: Images that may wait for their turn in one worker process; past it, 503.
        max_body: Largest request body, bytes.
        max_pixels: Largest image, pixels.
        max_images: Most images in one request.
        max_buffer: Bytes that all bodies of one worker process may take up at once; past it, 503.
        timeout: Seconds for a request, from its first byte to the answer.
        idle: Seconds after which a connection without a request is closed.
        keys_file: File with one API key a line, or None: everybody may ask.
        origins: Other sites whose pages may ask (CORS).
        runtime: Folder with LiteRT.js, for the page's mode "on this device", or None.
    """

    model: str | None = None
    threads: int = 1
    queue: int = 64
    max_body: int = 20_000_000
    max_pixels: int = MAX_PIXELS
    max_images: int = 16
    max_buffer: int = 256_000_000
    timeout: float = 30.0
    idle: float = 10.0
    keys_file: str | None = None
    origins: tuple[str, ...] = ()
    runtime: str | None = None

    @property
    def model_file(self) -> Path:
        """Where the model is."""
        return Path(self.model) if self.model else FOLDER / MODEL

    def hand_on(self) -> None:
        """Leave the settings where `handed_on` finds them in every process started from here."""
        os.environ[VARIABLE] = json.dumps(asdict(self))

    @classmethod
    def handed_on(cls) -> "Settings":
        """Read the settings that the starting process left."""
        values = json.loads(os.environ[VARIABLE])
        return cls(**values | {"origins": tuple(values["origins"])})

    def keys(self) -> tuple[bytes, ...]:
        """Read the API keys.

        Raises:
            HappysadError: The file cannot be read, or holds no key.
        """
        if self.keys_file is None:
            return ()
        try:
            lines = Path(self.keys_file).read_bytes().splitlines()
        except OSError as error:
            raise HappysadError(f"{self.keys_file}: cannot be read ({error.strerror})") from error
        keys = tuple(key for line in lines if (key := line.strip()) and not key.startswith(b"#"))
        if not keys:
            raise HappysadError(f"{self.keys_file}: holds no key; write one a line")
        return keys
