"""The web page: its files, the models for running on the device, and sample images."""

import io
import os
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles
from PIL import Image
from starlette.types import Scope

from happysad.dataset.synthetic import draw_scene
from happysad.released import FACES, FOLDER
from happysad.serving.settings import Settings

STATIC: Final = Path(__file__).parent / "static"

# Each sample's drawn faces: class number and random seed.
SAMPLES: Final = {
    "happy": ((1, 18),),
    "sad": ((0, 36),),
    "group": ((1, 14), (0, 34), (1, 38)),
}

# Browsers ask whether a file has changed, so an update never mixes old and new scripts.
_REVALIDATE: Final = {"Cache-Control": "no-cache"}


class _Files(StaticFiles):
    """Files, some of which are stored compressed; every browser accepts gzip."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        found = super().lookup_path(path)
        return found if found[1] else super().lookup_path(f"{path}.gz")

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if isinstance(response, FileResponse) and str(response.path).endswith(".gz"):
            response.headers["Content-Encoding"] = "gzip"
        response.headers.update(_REVALIDATE)
        return response


def add_page(app: FastAPI, settings: Settings) -> None:
    """Add the page and the files that it needs."""
    page = (STATIC / "index.html").read_text("utf-8")
    runtime = settings.runtime_folder()
    page = page.replace("{{ runtime }}", _wasm(runtime) if runtime else "")

    @app.head("/", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page, headers=_REVALIDATE)

    @app.get("/model.tflite", include_in_schema=False)
    async def model_file() -> FileResponse:
        return _model_response(settings.model_file)

    @app.get("/faces.tflite", include_in_schema=False)
    async def faces_file() -> FileResponse:
        return _model_response(FOLDER / FACES)

    @app.get("/samples/{name}.jpg", include_in_schema=False)
    def sample(name: str) -> Response:
        if name not in SAMPLES:
            raise HTTPException(404)
        return Response(_draw_sample(name), media_type="image/jpeg", headers=_REVALIDATE)

    if runtime:
        app.mount("/litert", _Files(directory=runtime))
    app.mount("/static", _Files(directory=STATIC))


def _wasm(runtime: Path) -> str:
    """Return what the page loads, relative to LiteRT.js: all variants, or the wheel's only one."""
    variants = sorted((runtime / "core" / "wasm").glob("*.js"))
    return f"wasm/{variants[0].name}" if len(variants) == 1 else "wasm/"


def _model_response(path: Path) -> FileResponse:
    return FileResponse(path, media_type="application/octet-stream", headers=_REVALIDATE)


@cache
def _draw_sample(name: str) -> bytes:
    """Return a sample as JPEG."""
    file = io.BytesIO()
    Image.fromarray(draw_scene(SAMPLES[name])).save(file, "JPEG", quality=92)
    return file.getvalue()
