"""The command line in this process, with a home of its own; models are loaded once for all tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import vitq_core as vq
from vitq_core.cli.application import program
from vitq_core.demo import scenes

load = cache(vq.load_model)
FEW = ("--recipe", "minmax", "--calibration", "4", "--judged", "8")


def loaded(name: str, device: str | None = None, **heard: Any) -> vq.Model:
    return load(str(name), device)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(vq, "load_model", loaded)
    monkeypatch.setenv("VITQ_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VITQ_DEBUG", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


@pytest.fixture
def vitq() -> Callable[..., Any]:
    """`vitq("runs", "list")`: what it printed and its exit code; with `code`, which must be that one."""

    def run(*arguments: str, code: int | None = 0) -> Any:
        done = CliRunner().invoke(program, [str(each) for each in arguments], prog_name="vitq")
        assert code is None or done.exit_code == code, (done.exit_code, done.stderr, done.exception)
        return done

    return run


@pytest.fixture
def answered(vitq: Callable[..., Any]) -> Callable[..., Any]:
    """The same with --json: the document, which is all that stands on stdout."""
    return lambda *arguments: json.loads(vitq(*arguments, "--json").stdout)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Eight drawn scenes in folders by class."""
    for index in range(8):
        drawn = scenes.scene(index)
        path = tmp_path / "pictures" / scenes.LABELS[drawn.label] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn.image).save(path)
    return tmp_path / "pictures"
