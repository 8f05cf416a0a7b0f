"""Wrong input to every command, found by itself: exit code 2, one sentence on stderr, and never a traceback.

Each command's own example is a line that works; in it one thing is made wrong at a time.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import vitq_core as vq
from tests import nasty
from vitq_core.cli import options
from vitq_core.cli.application import program
from vitq_core.experiment.runs import RunStore

from .conftest import FEW, loaded

PICTURE, RUN = "photo.png", "3f2a"
COMMON = ("", "   ", nasty.LONG, "a\0b", "~nosuchuser", "no/such/thing", "broken.zip", "empty", "note.txt")
NO_FOLDERS = ("", "   ", nasty.LONG, "a\0b", "~nosuchuser", "broken.zip", "note.txt/new")
UNPRINTABLE = ("", "   ", "a\0b", "a\nb")
NUMBERS = ("abc", "1.5.2", "", "-1", "0x10", "nan", "1e400", "9" * 400)


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its names, those of groups too."""
    for name, each in (group or typer.main.get_command(program)).commands.items():
        if hasattr(each, "commands"):
            yield from commands(each, (*path, name))
        else:
            yield (*path, name), each


COMMANDS = {" ".join(path): command for path, command in commands()}


def example(name: str) -> list[str]:
    """Of a command's help, without the program's own name."""
    words = shlex.split(COMMANDS[name].epilog.removeprefix("Example: "))
    assert words[0] == "vitq" and " ".join(words[1:]).startswith(name), words
    return words[1:]


@cache
def cases() -> list[tuple[str, str, tuple[str, ...]]]:
    """(command, what is wrong, the arguments)."""
    return [
        (name, what, tuple(arguments))
        for name in COMMANDS
        for what, arguments in _wrong(name, COMMANDS[name])
    ]


def _wrong(name: str, command: Any) -> Iterator[tuple[str, list[str]]]:
    good, first = example(name), len(name.split())
    yield "an unknown option", _with(good, "--nonsense")
    yield "too much", [*good, *["nonsense"] * 3] if not _takes_many(command) else [*good, "--nonsense=3"]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            if parameter.required:
                yield f"no {parameter.name}", good[:first]
            for given in COMMON:
                changed = [*good]
                changed[first + _position(command, parameter)] = given
                yield f"{parameter.name}={given[:12]!r}", changed
        elif (
            parameter.expose_value
            and parameter.name != "as_json"
            and not getattr(parameter, "is_flag", False)
        ):
            for given in _values(parameter):
                yield f"{parameter.opts[0]} {given[:12]!r}", _with(good, f"{parameter.opts[0]}={given}")


def _with(good: list[str], option: str) -> list[str]:
    """Before the words of another command, where the example ends with one."""
    end = good.index("--") if "--" in good else len(good)
    return [*good[:end], option, *good[end:]]


def _takes_many(command: Any) -> bool:
    return any(
        each.nargs == -1 or (each.param_type_name == "argument" and each.multiple) for each in command.params
    )


def _position(command: Any, parameter: Any) -> int:
    arguments = [each.name for each in command.params if each.param_type_name == "argument"]
    return arguments.index(parameter.name)


def _values(parameter: Any) -> tuple[str, ...]:
    """By the word that help has for them; a folder to write into may be new, and an empty one."""
    if parameter.metavar in (options.WHOLE["metavar"], options.NUMBER["metavar"]):
        return NUMBERS
    if parameter.metavar == options.ELSEWHERE["metavar"]:
        return UNPRINTABLE
    return NO_FOLDERS if parameter.metavar == options.FOLDER["metavar"] else COMMON


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two runs, whose ids examples name, and the scores of a model."""
    folder = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VITQ_HOME", str(folder / "home"))
        patch.setattr(vq, "load_model", loaded)
        for line in (["quantize", "demo-vit", *FEW], ["importance", "demo-vit", "--pictures", "2"]):
            out = ["--out", str(folder / "scores.json")] if line[0] == "importance" else []
            assert CliRunner().invoke(program, [*line, *out]).exit_code == 0
        (record,) = RunStore().all()
        RunStore().add(replace(record, id=RUN + "0" * 8, made=record.made - 1))
    return folder


@pytest.fixture
def around(stored: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the examples name, and files that are not what they seem."""
    monkeypatch.setenv("VITQ_HOME", str(stored / "home"))
    shutil.copy(stored / "scores.json", "scores.json")
    Image.new("RGB", (64, 64), "red").save(PICTURE)
    Path("broken.zip").write_bytes(b"PK\3\4 no archive")
    Path("note.txt").write_text("a note")
    Path("empty").mkdir()


def test_every_command_has_an_example_and_help():
    for name, command in COMMANDS.items():
        assert example(name)
        assert command.help and command.short_help.endswith("."), name
        for parameter in command.params:
            assert parameter.help and parameter.help.rstrip(")").endswith("."), (name, parameter.name)


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_input(name: str, around: None):
    """All that is wrong in one test: the models are loaded once."""
    told = [(what, _ended(arguments)) for of, what, arguments in cases() if of == name]
    assert told
    assert {what: said for what, said in told if said} == {}


def _ended(arguments: tuple[str, ...]) -> str:
    """What is not as it should be; empty where all is."""
    done = CliRunner().invoke(program, list(arguments), prog_name="vitq")
    said = [line for line in done.stderr.splitlines() if line.startswith("vitq: ")]
    if done.exit_code != 2 or len(said) != 1 or "Traceback" in done.output or done.stdout:
        return f"exit code {done.exit_code}: {done.output[-400:]}"
    if len(said[0]) > 1200 or nasty.PYTHONS.search(said[0].replace("unpack them first", "")):
        return said[0]
    return ""
