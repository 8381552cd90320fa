"""Settings of a server: limits, keys, the model."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from happysad.errors import HappysadError
from happysad.image import MAX_PIXELS
from happysad.image_formats import FORMATS
from happysad.released import FOLDER, MODEL

VARIABLE: Final = "HAPPYSAD_SERVE_SETTINGS"
"""Environment variable that passes the settings to worker processes."""

METRICS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder where worker processes share their metrics."""

# LiteRT.js in the wheel; a checkout has none, see hatch_build.py.
_BUNDLED_RUNTIME: Final = Path(__file__).parent / "litert"


@dataclass(frozen=True)
class Settings:
    """Settings of a server.

    Attributes:
        model: A `.tflite` file; None is the bundled model.
        threads: Images that a worker process predicts at once.
        queue: Images that may wait in a worker process; further requests get 503.
        max_body: Maximum size of a request body, bytes.
        max_pixels: Maximum pixels of an image.
        formats: Image formats that are decoded, of `happysad.image.FORMATS`.
        max_images: Maximum number of images in a request.
        max_buffer: Maximum bytes of all request bodies in a worker process; further requests get
            503.
        timeout: Time limit of a request, upload included, seconds.
        idle: Seconds after which idle connections are closed.
        keys_file: File with one API key per line; None means that no key is needed.
        origins: Origins that browsers may call from (CORS).
        runtime: Folder node_modules/@litertjs with LiteRT.js, for running on the visitor's device;
            None is the wheel's copy, if there is one.
    """

    model: str | None = None
    threads: int = 1
    queue: int = 64
    max_body: int = 20_000_000
    max_pixels: int = MAX_PIXELS
    formats: tuple[str, ...] = FORMATS
    max_images: int = 16
    max_buffer: int = 256_000_000
    timeout: float = 30.0
    idle: float = 10.0
    keys_file: str | None = None
    origins: tuple[str, ...] = ()
    runtime: str | None = None

    @property
    def model_file(self) -> Path:
        """The model's path."""
        return Path(self.model) if self.model else FOLDER / MODEL

    def to_environment(self) -> None:
        """Write the settings to the environment, which worker processes inherit."""
        os.environ[VARIABLE] = json.dumps(asdict(self))

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read the settings that `to_environment` wrote."""
        values = json.loads(os.environ[VARIABLE])
        return cls(**values | {name: tuple(values[name]) for name in ("origins", "formats")})

    def runtime_folder(self) -> Path | None:
        """Return the folder with LiteRT.js: the given one, or the one in the wheel; None without.

        Raises:
            HappysadError: The given folder does not contain it.
        """
        if self.runtime is None:
            return _BUNDLED_RUNTIME if _BUNDLED_RUNTIME.is_dir() else None
        folder = Path(self.runtime)
        # The scripts of the wheel's copy are compressed.
        script = folder / "core" / "dist" / "index.js"
        if not (script.is_file() or script.with_name("index.js.gz").is_file()):
            raise HappysadError(
                f"{folder}: contains no core/dist/index.js; run npm install @litertjs/core, and "
                "give the folder node_modules/@litertjs"
            )
        return folder

    def keys(self) -> tuple[bytes, ...]:
        """Read the API keys.

        Raises:
            HappysadError: The file cannot be read, contains no key, or one that cannot be sent.
        """
        if self.keys_file is None:
            return ()
        try:
            text = Path(self.keys_file).read_text("utf-8-sig")
        except OSError as error:
            raise HappysadError(f"{self.keys_file}: cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise HappysadError(f"{self.keys_file}: is not UTF-8 text; save it as UTF-8") from error
        keys = []
        for number, line in enumerate(text.splitlines(), start=1):
            key = line.strip()
            if not key or key.startswith("#"):
                continue
            # Clients encode other characters of headers in different ways.
            if not (key.isascii() and key.isprintable()):
                raise HappysadError(
                    f"{self.keys_file}: the key in line {number} has characters outside printable "
                    "ASCII; use letters and digits, and save the file as UTF-8"
                )
            keys.append(key.encode())
        if not keys:
            raise HappysadError(f"{self.keys_file}: contains no key; write one per line")
        return tuple(keys)
