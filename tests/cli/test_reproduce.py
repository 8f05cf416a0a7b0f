"""`vitq reproduce`: a table is filled cell by cell, killed and continued, and said in several forms."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vitq_core.cli import reproduced, reproducing
from vitq_core.experiment.reproduce import TABLES, Entry

FEW = ("--table", "3", "--models", "demo-vit", "--methods", "layer-wise", "RepQ-ViT", "--limit", "8")
WANTED = reproducing.Wanted(
    "3", ["deit_small"], None, None, None, None, None, None, 0, False, None, None
)  # fmt: skip
AWAITED = 120  # seconds


def test_cells_are_measured_once(vitq: Callable[..., Any], answered: Callable[..., Any], home: Path) -> None:
    first = answered("reproduce", *FEW)
    cells = sorted((home / "reproduce").glob("*.json"))
    before = [(path, path.stat().st_mtime_ns) for path in cells]
    assert len(cells) == 3 and answered("reproduce", *FEW) == first
    assert [(path, path.stat().st_mtime_ns) for path in cells] == before
    methods = [(cell["model"], cell["method"], cell["bits"]) for cell in first["cells"]]
    assert methods == [
        ("demo-vit", "full precision", 32), ("demo-vit", "layer-wise", 4), ("demo-vit", "RepQ-ViT", 4),
    ]  # fmt: skip
    assert all(cell["top1"] > 50 and cell["published"] is None for cell in first["cells"])
    assert first["cells"][1]["result"]["calibration"] == 1 and first["limit"] == 8


def test_what_the_table_says_of_a_trial(vitq: Callable[..., Any]) -> None:
    said = vitq("reproduce", *FEW).stdout
    lines = said.splitlines()
    assert lines[0].startswith("LRP-QViT, inputs behind a LayerNorm.") and "\x1b" not in said
    assert lines[2].split()[:4] == ["model", "method", "bits", "top-1"]
    assert "A trial on 8 pictures" in said


@pytest.mark.parametrize("ending", [".md", ".html", ".json"])
def test_the_table_is_saved_as_its_ending_says(vitq: Callable[..., Any], tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"table{ending}"
    vitq("reproduce", *FEW, "--save", path)
    text = path.read_text("utf-8")
    assert "RepQ-ViT" in text and "demo-vit" in text
    marks = {".md": "| demo-vit | layer-wise | W4/A4 |", ".html": "<html>", ".json": '"method": "layer-wise"'}
    assert marks[ending] in text


def test_killed_it_goes_on_from_the_cells_that_are_there(vitq: Callable[..., Any], home: Path) -> None:
    command = [sys.executable, "-m", "vitq_core", "reproduce", *FEW]
    running = subprocess.Popen(
        command, cwd=Path(__file__).parents[2], env={**os.environ, "VITQ_HOME": str(home)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    folder, until = home / "reproduce", time.monotonic() + AWAITED
    while len(list(folder.glob("*.json"))) < 2 and running.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    kept = {path: path.read_text() for path in folder.glob("*.json")}
    assert len(kept) >= 2
    vitq("reproduce", *FEW)
    assert {path: path.read_text() for path in kept} == kept
    assert len(list(folder.glob("*.json"))) == 3
    assert all(json.loads(path.read_text())["result"]["n"] == 8 for path in folder.glob("*.json"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--table", "9"], "unknown table '9'; available: 1, 3, 4, 5, adfq"),
        (["--limit", "0"], "limit must be a whole number of at least 1"),
        (["--methods", "x"], "table 1 has no row 'x'; available: FQ-ViT"),
        (["--calibration-data", "somewhere"], "--calibration-data does nothing without --data"),
        (["--data", "nowhere"], "there is no folder or .zip of pictures 'nowhere'"),
        (["--save", "table.txt"], "--save must name a file that ends with .md or .html or .json"),
        (["--models", "demo-vit", "--random-weights"], "random weights are for models that would be"),
        (["--models", "demo-vit", "--effort", "great"], "unknown effort 'great'"),
    ],
)  # fmt: skip
def test_wrong_input_is_a_sentence(vitq: Callable[..., Any], arguments: list[str], said: str) -> None:
    done = vitq("reproduce", *arguments, code=2)
    assert said in done.stderr and "Traceback" not in done.stderr and not done.stdout


def test_deviations_have_a_colour_and_refusals_a_reason() -> None:
    rows = TABLES["3"].rows
    results = [{"top1": 0.331}, {"top1": 0.69}, {"top1": 0.6}, {"refused": "no such bits"}]
    pairs = zip(rows, results, strict=True)
    cells = tuple(Entry("DeiT-S", row, row.published["DeiT-S"], result) for row, result in pairs)
    found = reproducing.Found(TABLES["3"], WANTED, cells)
    page = reproduced._rich(found).file.getvalue()
    assert "\x1b[32m-0.07" in page and "\x1b[33m-1.28" in page and "\x1b[31m-9.03" in page
    assert "refused" in page and "CRL W4/A4 refused: no such bits" in page
