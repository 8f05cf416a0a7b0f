"""The frame: the program that commands are registered in, and how each of them ends."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from .ending import exit_code

F = TypeVar("F", bound=Callable[..., None])


class Program(TyperGroup):
    """Ends with an exit code and one sentence, whatever happens inside."""

    def main(self, *args: Any, **options: Any) -> None:
        whole = super().main
        sys.exit(exit_code(lambda: whole(*args, **{**options, "standalone_mode": False})))


program = typer.Typer(
    cls=Program, name="vitq", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=True
)


def command(
    example: str, into: typer.Typer = program, name: str | None = None, **options: Any
) -> Callable[[F], F]:
    """Registers a function as a command, called as the function or `name`. `example`: a line that works.
    `options`: of typer's own."""

    def register(function: F) -> F:
        paragraphs = [" ".join(each.split()) for each in (function.__doc__ or "").split("\n\n")]
        said = {"help": "\n\n".join(paragraphs), "short_help": paragraphs[0]}
        into.command(name, epilog=f"Example: {example}", **said, **options)(function)
        return function

    return register


def own_version() -> str:
    """Of the installed package, or of the source folder that this runs in."""
    try:
        return version("vitq-studio")
    except PackageNotFoundError:
        described = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
        return re.search(r'^version = "(.+)"$', described, re.MULTILINE)[1]


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vitq {own_version()}")
        raise typer.Exit


@program.callback(epilog="Example: vitq quantize demo-vit --recipe repq --weight-bits 4 --act-bits 4")
def _frame(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and end.", callback=_say_version, is_eager=True),
    ] = False,
) -> None:
    """Make a vision transformer smaller after training, and see what that costs.

    Runs are shared with the studio: what was made here is listed there, and the other way round.
    """
