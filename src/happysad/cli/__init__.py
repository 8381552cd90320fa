"""The command line: one thin module per verb."""

import logging
import os
import sys
import warnings
from importlib import import_module
from typing import Annotated, Final, NoReturn

import typer

from happysad import __version__
from happysad.doctor import LIGHT
from happysad.errors import HappysadError

# The modules import nothing heavy; what a verb needs is imported when that verb runs.
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
"""Each verb, with the extra that it or one of its options needs."""

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
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Tell happy faces from sad ones: train, evaluate, export and run a small classifier.

    Every verb explains itself: happysad train --help

    Examples:
      happysad demo
      happysad predict party.jpg
      happysad train faces/ --weights happysad --out runs/ours
    """


def main() -> None:
    """Run the command line; an error of the user's is one line and exit status 2."""
    # Pillow's remarks on odd files and TensorFlow's on itself would bury what matters.
    warnings.filterwarnings("ignore", module="PIL")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Only the verb that is asked for: the others' imports would be waited for. Demo runs others.
    asked = sys.argv[1:2]
    for verb in asked if asked and asked[0] in VERBS and asked != ["demo"] else VERBS:
        import_module(f"happysad.cli.{verb}").register(app)
    try:
        app()
    except HappysadError as error:
        _fail(str(error))
    except OSError as error:
        # Who writes a file says which; what has no name was meant for standard output.
        if not error.filename:
            # Python tries to write the rest when it ends, and would say so once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _fail(f"{error.filename or 'standard output'}: {error.strerror or error}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("happysad"):
            raise
        _fail(_missing((error.name or "").partition(".")[0], asked[0] if asked else ""))


def _missing(module: str, verb: str) -> str:
    """Name a module that cannot be imported, and the command that installs it."""
    extra = VERBS.get(verb)
    if not extra or module in LIGHT:
        return (
            f"{module} is not installed; reinstall happysad: pip install --force-reinstall happysad"
        )
    if verb == "train" and module == "ray":  # --workers
        extra = "train,cluster"
    return f"{verb}: {module} is not installed; pip install 'happysad[{extra}]'"


def _fail(message: str) -> NoReturn:
    typer.secho(f"error: {message}", fg=typer.colors.RED, err=True)
    sys.exit(2)
