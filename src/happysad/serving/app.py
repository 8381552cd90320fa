"""The HTTP API: images in, the records of `happysad predict --json` out."""

import asyncio
import base64
import hashlib
import hmac
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Final

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from happysad import __version__
from happysad.prediction import LABELS
from happysad.quiet import start_litert
from happysad.released import CARD, FIGURES, FOLDER
from happysad.serving import metrics
from happysad.serving.body import Buffers
from happysad.serving.engine import Crop, Engine
from happysad.serving.page import STATIC, add_page
from happysad.serving.problem import Problem, busy
from happysad.serving.schemas import ImageRecord, ModelRecord, images, problems
from happysad.serving.settings import Settings


def _import_map() -> str:
    """Return the hash of the page's only inline script, for the content security policy."""
    page = (STATIC / "index.html").read_text("utf-8")
    script = page.partition('<script type="importmap">')[2].partition("</script>")[0]
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


# The page runs its own scripts and LiteRT's WebAssembly, shows local images, and connects to no
# other server.
_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; "
    f"script-src 'self' 'wasm-unsafe-eval' 'sha256-{_import_map()}'; "
    "style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; connect-src 'self'; "
    "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cross-origin-opener-policy": "same-origin",
}


def create_app() -> FastAPI:
    """Create the application with the settings of the parent process.

    Raises:
        HappysadError: The model or the keys cannot be read.
    """
    settings = Settings.from_environment()
    if starter := multiprocessing.parent_process():
        threading.Thread(target=_end_with, args=(starter,), daemon=True).start()
    start_litert()
    engine, buffers = Engine(settings), Buffers(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await engine.warm_up()
        yield
        engine.close()

    app = FastAPI(
        title="happysad",
        version=__version__,
        description="Classifies faces as happy or sad. Images are neither stored nor logged.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    _add_api(app, settings, engine, buffers)
    _add_operations(app, engine)
    add_page(app, settings)
    _add_errors(app)
    app.add_middleware(_HeadersAndMetrics)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key"],
        )
    return app


def _end_with(starter: multiprocessing.process.BaseProcess) -> None:
    """Shut this worker down when its parent process has ended, even if it was killed."""
    starter.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _add_api(app: FastAPI, settings: Settings, engine: Engine, buffers: Buffers) -> None:
    allowed = [Depends(_key_check(settings.keys()))]
    model = _model_record(settings, engine)

    @app.post(
        "/v1/predict",
        dependencies=allowed,
        response_model=None,
        responses={
            200: {"model": ImageRecord | list[ImageRecord]},
            **problems(400, 401, 408, 413, 415, 422, 503),
        },
        openapi_extra=images(settings.max_images),
    )
    async def predict(request: Request, crop: Crop = "face") -> Response:
        """Detect faces and classify each as happy, sad or uncertain.

        A body with one image (image/…) returns one record; a form with files
        (multipart/form-data) returns a list of records in the order of the files. With crop=whole
        no faces are detected: the centred square of each image must be the crop of one face.
        """
        # Before the body is read, so that rejected requests cost almost nothing.
        engine.check_room()
        uploaded = False
        try:
            async with asyncio.timeout(settings.timeout), buffers.read(request) as body:
                uploaded = True
                records = await engine.predict(body.images, crop)
        except TimeoutError as error:
            limit = f"was not completed within {settings.timeout:g} seconds"
            if uploaded:
                raise busy(f"the prediction {limit}") from error
            detail = f"the upload {limit}; send a smaller image"
            raise Problem(408, "too slow", detail, {"Connection": "close"}) from error
        for record in records:
            metrics.IMAGES.labels(record["status"]).inc()
        if not body.whole:
            return JSONResponse(records)
        if records[0]["status"] == "error":
            raise Problem(422, "unreadable image", records[0]["error"])
        return JSONResponse(records[0])

    @app.get("/v1/model", dependencies=allowed, responses=problems(401))
    async def describe_model() -> ModelRecord:
        """Describe the model: labels, version, test metrics and model card."""
        return model


def _key_check(keys: tuple[bytes, ...]) -> Any:
    async def check(request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            given = request.headers.get("x-api-key", "")
        # All keys are compared, in constant time.
        fits = [hmac.compare_digest(key, given.strip().encode()) for key in keys]
        if keys and not any(fits):
            raise Problem(
                401,
                "no key",
                "this server requires an API key; send the header Authorization: Bearer KEY",
                {"WWW-Authenticate": "Bearer"},
            )

    return check


def _model_record(settings: Settings, engine: Engine) -> ModelRecord:
    info = asdict(engine.detectors["face"].classifier.info)
    released = settings.model is None
    return ModelRecord(
        **info | {"happysad": __version__},
        exported_by=info["happysad"],
        labels=list(LABELS),
        sha256=hashlib.sha256(settings.model_file.read_bytes()).hexdigest(),
        figures=json.loads((FOLDER / FIGURES).read_text("utf-8")) if released else None,
        card=(FOLDER / CARD).read_text("utf-8") if released else None,
    )


def _add_operations(app: FastAPI, engine: Engine) -> None:
    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", response_class=PlainTextResponse)
    async def alive() -> str:
        """Health check: whether the process responds."""
        return "alive\n"

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", response_class=PlainTextResponse, responses=problems(503))
    async def ready() -> str:
        """Readiness check: whether a first prediction has succeeded."""
        if not engine.ready:
            raise Problem(503, "not ready", "the model is not ready", {"Retry-After": "1"})
        return "ready\n"

    @app.get("/metrics", response_class=PlainTextResponse)
    async def prometheus_metrics() -> Response:
        """Metrics for Prometheus."""
        return metrics.exposition()


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        metrics.REJECTED.labels(error.reason).inc()
        return error.response()

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        return Problem(error.status_code, "http", str(error.detail), error.headers).response()

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Problem(400, "client disconnected", "the connection was closed").response()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        wrong = "; ".join(f"{e['loc'][-1]}: {e['msg']}" for e in error.errors())
        return Problem(400, "malformed request", wrong).response()


class _HeadersAndMetrics:
    """Middleware that adds security headers, records request metrics and answers after a bug."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status, started = time.perf_counter(), 500, False

        async def send_on(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                extra = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except Exception:
            if not started:
                problem = Problem(500, "server error", "internal server error; see the log")
                await problem.response()(scope, receive, send_on)
            raise  # uvicorn logs it.
        finally:
            # The route's pattern instead of the path bounds the number of label values.
            path = getattr(scope.get("route"), "path", "other")
            metrics.REQUESTS.labels(path, str(status)).inc()
            metrics.LATENCY.labels(path).observe(time.perf_counter() - start)
