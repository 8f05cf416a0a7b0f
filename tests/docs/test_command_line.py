"""The lines on the page of the command line run as they stand, and the page names every command."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import vitq_core as vq
from vitq_core.cli import recipe_files
from vitq_core.cli.application import program
from vitq_core.cli.recipes import chosen_recipe
from vitq_core.demo import scenes

from ..cli.conftest import loaded
from ..cli.test_nasty import COMMANDS
from .test_readme import photographs

PAGE = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text("utf-8")


def test_every_command_is_on_the_page():
    assert [name for name in COMMANDS if f"vitq {name}" not in PAGE] == []


def test_the_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VITQ_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(vq, "load_model", loaded)
    photographs(tmp_path)
    Image.fromarray(scenes.scene(0).image).save("photo.png")
    blocks = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
    lines = "".join(text for language, text in blocks if not language).splitlines()
    assert len(lines) > 12
    for line in lines:
        name, *words = shlex.split(line)
        done = CliRunner().invoke(program, words, prog_name=name)
        assert done.exit_code == 0, (line, done.stderr)
        assert done.stdout.strip(), line
    for made in (
        "small",
        "mine.toml",
        "mixed.json",
        "maps",
        "layers.csv",
        "to-deploy",
        "mask.png",
        "masks.json",
        "table.html",
    ):
        assert os.path.exists(made), made


def test_the_recipe_by_hand_is_one(tmp_path: Path):
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "mine.toml").write_text(text)
    recipe = chosen_recipe("classification", file=tmp_path / "mine.toml")
    assert recipe.bits["blocks.0.attn.matmul1"] == (None, 6) and recipe.options.schedule.drop == 0.3
    recipe_files.write(tmp_path / "again.toml", recipe)
    assert chosen_recipe("classification", file=tmp_path / "again.toml") == recipe
