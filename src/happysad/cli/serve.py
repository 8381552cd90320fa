"""`happysad serve`: the HTTP API and the web page."""

import math
import re
from pathlib import Path
from typing import Annotated, Final

import typer

from happysad.cores import cores
from happysad.errors import HappysadError
from happysad.quiet import start_litert

LIMITS = "Limits"

_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


def serve(
    host: Annotated[
        str,
        typer.Option(envvar="HAPPYSAD_HOST", help="Address to listen on; 0.0.0.0: all interfaces."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="HAPPYSAD_PORT", min=1, max=65535)] = 8000,
    model: Annotated[
        Path | None,
        typer.Option(
            envvar="HAPPYSAD_MODEL",
            help="A .tflite file made by happysad export; default: the bundled model.",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(envvar="HAPPYSAD_WORKERS", min=1, help="Number of server processes.")
    ] = 1,
    threads: Annotated[
        int | None,
        typer.Option(
            envvar="HAPPYSAD_THREADS",
            min=1,
            help="Images per process processed at once; default: its share of the CPUs.",
        ),
    ] = None,
    queue: Annotated[
        int,
        typer.Option(
            envvar="HAPPYSAD_QUEUE",
            min=0,
            help="Images per process that may wait; further requests get 503.",
            rich_help_panel=LIMITS,
        ),
    ] = 64,
    max_body: Annotated[
        int,
        typer.Option(
            envvar="HAPPYSAD_MAX_BODY",
            min=1,
            help="Maximum request size in bytes.",
            rich_help_panel=LIMITS,
        ),
    ] = 20_000_000,
    max_pixels: Annotated[
        int,
        typer.Option(
            envvar="HAPPYSAD_MAX_PIXELS",
            min=1,
            help="Maximum pixels per image.",
            rich_help_panel=LIMITS,
        ),
    ] = 50_000_000,
    formats: Annotated[
        str | None,
        typer.Option(
            envvar="HAPPYSAD_FORMATS",
            metavar="A,B,…",
            help="Image formats to accept, such as jpeg,png,webp; default: all that predict reads.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_images: Annotated[
        int,
        typer.Option(
            envvar="HAPPYSAD_MAX_IMAGES",
            min=1,
            help="Maximum images per request.",
            rich_help_panel=LIMITS,
        ),
    ] = 16,
    max_buffer: Annotated[
        int,
        typer.Option(
            envvar="HAPPYSAD_MAX_BUFFER",
            min=1,
            help="Maximum bytes of request bodies per process; further requests get 503.",
            rich_help_panel=LIMITS,
        ),
    ] = 256_000_000,
    timeout: Annotated[
        float,
        typer.Option(
            envvar="HAPPYSAD_TIMEOUT",
            min=0.1,
            help="Time limit of a request in seconds, upload included.",
            rich_help_panel=LIMITS,
        ),
    ] = 30.0,
    idle: Annotated[
        float,
        typer.Option(
            envvar="HAPPYSAD_IDLE",
            min=1,
            help="Seconds after which idle connections are closed.",
            rich_help_panel=LIMITS,
        ),
    ] = 10.0,
    api_keys: Annotated[
        Path | None,
        typer.Option(
            envvar="HAPPYSAD_API_KEYS",
            help="File with one API key per line; default: no key needed.",
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            envvar="HAPPYSAD_CORS", help="Allowed CORS origin, such as https://example.org."
        ),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            envvar="HAPPYSAD_RUNTIME",
            help="Folder node_modules/@litertjs after npm install @litertjs/core, for running on "
            "the visitor's device; default: the copy in the wheel.",
        ),
    ] = None,
) -> None:
    """Serve predictions over HTTP, with a web page.

    Images are neither stored nor logged. Ctrl-C ends it, once requests that are
    under way are answered.

    Examples:
      happysad serve
      happysad serve --host 0.0.0.0 --workers 2 --api-keys keys.txt
    """
    from happysad.serving.server import serve as run_server
    from happysad.serving.settings import Settings

    for name, seconds in (("--timeout", timeout), ("--idle", idle)):
        if not math.isfinite(seconds):
            raise HappysadError(f"{name} {seconds}: not a time limit; give seconds, such as 30")
    settings = Settings(
        model=str(model) if model else None,
        threads=threads or share_of_cpus(workers),
        queue=queue,
        max_body=max_body,
        max_pixels=max_pixels,
        formats=_parse_formats(formats),
        max_images=max_images,
        max_buffer=max_buffer,
        timeout=timeout,
        idle=idle,
        keys_file=str(api_keys) if api_keys else None,
        origins=tuple(map(_parse_origin, cors or ())),
        runtime=str(runtime) if runtime else None,
    )
    start_litert()
    run_server(settings, host, port, workers)


def share_of_cpus(workers: int) -> int:
    """Return the threads of each worker process, so that all together use every CPU once."""
    return max(1, cores() // workers)


def _parse_formats(formats: str | None) -> tuple[str, ...]:
    from happysad.image_formats import FORMATS

    names = FORMATS if formats is None else tuple(formats.upper().replace(" ", "").split(","))
    unknown = [name for name in names if name not in FORMATS]
    if unknown:
        known = ", ".join(FORMATS).lower()
        raise HappysadError(f"--formats {formats}: no such format: {unknown[0]!r}; known: {known}")
    return names


def _parse_origin(origin: str) -> str:
    """Return an origin as browsers send it: scheme, host, and the port unless it is the default."""
    plain = origin.strip().removesuffix("/").lower()
    if plain != "*" and not _ORIGIN.fullmatch(plain):
        raise HappysadError(
            f"--cors {origin}: not an origin; give scheme and host in ASCII, such as "
            "https://example.org or https://xn--caf-dma.example"
        )
    return re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", plain)


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(serve)
