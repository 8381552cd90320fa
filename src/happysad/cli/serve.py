"""`happysad serve`: the HTTP API and the page."""

from pathlib import Path
from typing import Annotated

import typer

from happysad.cores import cores

LIMITS = "Limits"


def serve(
    host: Annotated[
        str, typer.Option(envvar="HAPPYSAD_HOST", help="Address to listen on; 0.0.0.0 = all.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="HAPPYSAD_PORT", min=1, max=65535)] = 8000,
    model: Annotated[
        Path | None,
        typer.Option(
            envvar="HAPPYSAD_MODEL",
            help="A .tflite file made by happysad export; else the released.",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(envvar="HAPPYSAD_WORKERS", min=1, help="Processes that answer.")
    ] = 1,
    threads: Annotated[
        int | None,
        typer.Option(
            envvar="HAPPYSAD_THREADS",
            min=1,
            help="Images that each process works on at once; else one for each core it has.",
        ),
    ] = None,
    queue: Annotated[
        int,
        typer.Option(
            envvar="HAPPYSAD_QUEUE",
            min=0,
            help="Images that may wait in each process; past it, 503.",
            rich_help_panel=LIMITS,
        ),
    ] = 64,
    max_body: Annotated[
        int,
        typer.Option(
            envvar="HAPPYSAD_MAX_BODY", min=1, help="Bytes a request.", rich_help_panel=LIMITS
        ),
    ] = 20_000_000,
    max_pixels: Annotated[
        int,
        typer.Option(
            envvar="HAPPYSAD_MAX_PIXELS", min=1, help="Pixels an image.", rich_help_panel=LIMITS
        ),
    ] = 50_000_000,
    max_images: Annotated[
        int,
        typer.Option(
            envvar="HAPPYSAD_MAX_IMAGES", min=1, help="Images a request.", rich_help_panel=LIMITS
        ),
    ] = 16,
    max_buffer: Annotated[
        int,
        typer.Option(
            envvar="HAPPYSAD_MAX_BUFFER",
            min=1,
            help="Bytes of all bodies that each process holds at once; past it, 503.",
            rich_help_panel=LIMITS,
        ),
    ] = 256_000_000,
    timeout: Annotated[
        float,
        typer.Option(
            envvar="HAPPYSAD_TIMEOUT",
            min=0.1,
            help="Seconds for a request, upload included.",
            rich_help_panel=LIMITS,
        ),
    ] = 30.0,
    idle: Annotated[
        float,
        typer.Option(
            envvar="HAPPYSAD_IDLE",
            min=1,
            help="Seconds after which an idle connection is closed.",
            rich_help_panel=LIMITS,
        ),
    ] = 10.0,
    api_keys: Annotated[
        Path | None,
        typer.Option(
            envvar="HAPPYSAD_API_KEYS", help="File with one API key a line; else all may ask."
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            envvar="HAPPYSAD_CORS", help="Another site whose pages may ask, https://example.org."
        ),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            envvar="HAPPYSAD_RUNTIME",
            help="Folder of the npm package @litertjs/core: with it the page can work on the "
            "visitor's device.",
        ),
    ] = None,
) -> None:
    """Serve predictions over HTTP, and a page to try them on.

    Images are neither stored nor logged. Ctrl-C ends it, once requests that are
    under way are answered.

    Examples:
      happysad serve
      happysad serve --host 0.0.0.0 --workers 2 --api-keys keys.txt
    """
    from happysad.serving.server import serve as run_server
    from happysad.serving.settings import Settings

    settings = Settings(
        model=str(model) if model else None,
        threads=threads or cores(),
        queue=queue,
        max_body=max_body,
        max_pixels=max_pixels,
        max_images=max_images,
        max_buffer=max_buffer,
        timeout=timeout,
        idle=idle,
        keys_file=str(api_keys) if api_keys else None,
        origins=tuple(cors or ()),
        runtime=str(runtime) if runtime else None,
    )
    run_server(settings, host, port, workers)


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(serve)
