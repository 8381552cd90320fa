"""Check that every dependency has wheels, by platform, Python version and extra.

    make wheels

Needs a package index. Exit status 1 if a combination lacks a wheel that `MISSING` does not name,
or has all wheels although `MISSING` names it.
"""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
EXTRAS: Final = ("", "video", "serve", "train", "cluster")
PLATFORMS: Final = {
    "Linux x86-64": "x86_64-manylinux_2_28",
    "Linux aarch64": "aarch64-manylinux_2_28",
    "macOS 14, arm64": "aarch64-apple-darwin",
    "Windows x86-64": "x86_64-pc-windows-msvc",
}
MISSING: Final = {(platform, "3.14", "train") for platform in PLATFORMS}
"""TensorFlow has no wheels for Python 3.14."""


def resolves(uv: str, platform: str, python: str, extra: str) -> str:
    """Return the end of uv's error in one line; empty where every dependency has a wheel."""
    command = [
        *(uv, "pip", "compile", "--quiet", "--only-binary", ":all:"),
        *("--python-platform", PLATFORMS[platform], "--python-version", python, "pyproject.toml"),
        *(("--extra", extra) if extra else ()),
    ]
    done = subprocess.run(  # noqa: S603
        command,
        cwd=ROOT,
        env={**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"},
        capture_output=True,
        text=True,
    )
    return " ".join(done.stderr.split())[-500:] if done.returncode else ""


def main() -> None:
    """Print a line for each combination."""
    uv, failed = sys.argv[1], 0
    for platform, python, extra in product(PLATFORMS, PYTHONS, EXTRAS):
        error = resolves(uv, platform, python, extra)
        expected = (platform, python, extra) in MISSING
        failed += bool(error) != expected
        print(f"{platform:<16} {python:<5} {extra or '-':<8} {error or 'ok'}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
