from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from running import Server, serving


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for all tests that do not change it."""
    options = "--max-images 4 --max-body 3000000 --max-pixels 5000000 --timeout 5 --threads 2"
    with serving(*options.split(), may_write=False) as running:
        yield running


@pytest.fixture(scope="session")
def hopper() -> Path:
    """Matplotlib's image of Grace Hopper: one face."""
    cbook = pytest.importorskip("matplotlib.cbook")
    return Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
