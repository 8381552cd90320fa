"""`happysad doctor`: what is installed, what is missing, and a self-test."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show what is installed and what is missing, and run a self-test.

    Takes about a second, offline, and changes nothing. The exit status is 1 if
    something that predicting needs is not as it should be; a missing extra is no
    fault.

    Examples:
      happysad doctor
      happysad doctor --json
    """
    from happysad.doctor import examine
    from happysad.quiet import quiet

    # A damaged installation is reported by the checks, not by the libraries.
    with quiet():
        checks = examine()
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        table = Table(box=box.SIMPLE_HEAD)
        for column in ("", "what", "found"):
            table.add_column(column, overflow="fold")
        marks = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[yellow]–[/]"}
        for check in checks:
            advice = f"\n[yellow]{escape(check.advice)}[/]" if check.advice else ""
            table.add_row(marks[check.ok], check.name, escape(check.found) + advice)
        Console(emoji=False).print(table)
    if any(check.ok is False for check in checks):
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(doctor)
