"""`--help` and shell completion."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from happysad.cli import VERBS, app


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    for verb, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{name} {verb}")


def all_commands() -> dict[str, Any]:
    for verb in VERBS:
        import_module(f"happysad.cli.{verb}").register(app)
    return dict(commands(get_command(app), "happysad"))


COMMANDS = all_commands()


def parse(words: list[str]) -> str:
    """Parse like the command line, without running; return the command's name."""
    name, command = words.pop(0), COMMANDS["happysad"]
    context = command.make_context(name, words)
    while hasattr(command, "resolve_command"):
        # The arguments that remain for the subcommand.
        word, command, words = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        name, context = f"{name} {word}", command.make_context(word, words, parent=context)
    return name


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_examples_that_parse(name: str) -> None:
    examples = COMMANDS[name].help.partition("\n\nExamples:\n")[2].splitlines()
    assert 2 <= len(examples) <= 6
    for example in examples:
        words = takewhile(lambda word: word != "<", shlex.split(example))
        assert parse(list(words)).startswith(name), example
    shown = CliRunner().invoke(app, [*name.split()[1:], "--help"], env={"COLUMNS": "80"})
    # Each is on one line, so that it can be copied.
    assert all(f" {example} " in shown.stdout for example in examples), shown.stdout


def test_a_wrong_example_would_not_pass() -> None:
    for line in ("happysad predict a.jpg --bogus", "happysad export runs/first --precision int9"):
        with pytest.raises(Exception, match=r"bogus|int9"):
            parse(shlex.split(line))


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("happysad pre", "predict"),
        ("happysad dataset cr", "crop"),
        ("happysad predict --cr", "--crop"),
        ("happysad export runs/first --precision f", "float16"),
    ],
)
def test_bash_completes(typed: str, completed: str, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    # Installed as a user would, in a separate HOME, then queried as readline does.
    words = typed.split()
    listed = " ".join(shlex.quote(word) for word in words)
    script = f"""
        happysad --install-completion && source ~/.bashrc
        COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}
        set -- $(complete -p happysad)
        while [ "$1" != -F ]; do shift; done
        "$2" happysad
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [bash, "--norc", "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": path, "HOME": str(tmp_path)},
    )
    assert completed in done.stdout.splitlines(), done.stderr
