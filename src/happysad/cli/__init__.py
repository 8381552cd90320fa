"""The command line: one thin module per verb."""

import errno
import io
import logging
import os
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from happysad import __version__
from happysad.doctor import LIGHT
from happysad.errors import HappysadError

# These modules import nothing heavy; dependencies are imported when a verb runs.
VERBS: Final = {
    "predict": "plot",
    "train": "train",
    "evaluate": "train",
    "export": "train",
    "dataset": "train",
    "serve": "serve",
    "score": "cluster",
    "tune": "train,cluster",
    "demo": "train",
    "doctor": "",
}
"""Each verb and the extras that it or one of its options needs."""

# On Windows, a closed pipe is an invalid argument.
_WRITE_ERRORS: Final = frozenset({
    errno.EPIPE, errno.ENOSPC, errno.EBADF, errno.EIO, errno.EFBIG, errno.EDQUOT, errno.EINVAL,
})  # fmt: skip

app = typer.Typer(
    name="happysad",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"happysad {__version__}")
        raise typer.Exit


@app.callback()
def happysad(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Classify faces as happy or sad: train, evaluate, export and run a small model.

    Help on a verb: happysad train --help

    Examples:
      happysad demo
      happysad predict party.jpg
      happysad train faces/ --weights happysad --out runs/ours
    """
    context.color = _colour()


def _colour() -> bool | None:
    """Return False where colours are not wanted; None leaves the choice to click."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return False if plain else None


def main() -> None:
    """Run the command line; user errors print one line and exit with status 2."""
    # Warnings of Pillow and TensorFlow would bury the command's own output.
    warnings.filterwarnings("ignore", module="PIL")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Closed, as by 2>&-: the next file that is opened must not take its place.
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
        os.dup2(sys.stderr.fileno(), 2)
    # On Windows, standard output that is redirected cannot hold every file name.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # Import only the requested verb, for a fast start; demo calls other verbs.
    asked = sys.argv[1:2]
    for verb in asked if asked and asked[0] in VERBS and asked != ["demo"] else VERBS:
        import_module(f"happysad.cli.{verb}").register(app)
    try:
        app()
    except HappysadError as error:
        _fail(str(error))
    except OSError as error:
        # Errors of files carry a name; those of standard output do not.
        name = error.filename
        if not name and error.errno in _WRITE_ERRORS:
            name = "standard output"
            # Python flushes standard output at exit and would report the error again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        reason = error.strerror or str(error)
        _fail(f"{name}: {reason}" if name else reason)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("happysad"):
            raise
        _fail(_missing((error.name or "").partition(".")[0], asked[0] if asked else ""))


def _missing(module: str, verb: str) -> str:
    """Return the error message for a missing module, with the command that installs it."""
    # Of predict, only videos need PyAV.
    extra = "video" if (verb, module) == ("predict", "av") else VERBS.get(verb)
    if not extra or module in LIGHT:
        return (
            f"{module} is not installed; reinstall happysad: pip install --force-reinstall happysad"
        )
    return f"{verb}: {module} is not installed; pip install 'happysad[{extra}]'"


def _fail(message: str) -> NoReturn:
    typer.secho(f"error: {message}", fg=typer.colors.RED, err=True, color=_colour())
    sys.exit(2)
