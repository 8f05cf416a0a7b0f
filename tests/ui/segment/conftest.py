"""Tiny Segment Anythings, and a quantizer that only shakes their weights: what is tested is the page."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch

import vitq_core as vq
from tests.sam import tiny_sam
from ui.segment import settings
from ui.segment.bench import SegmentBench
from ui.segment.settings import SamSettings
from ui.segment.tab import Page
from ui.workbench import Workbench

TINY, OTHER = "tiny-sam", "other-sam"


def info(model_id: str) -> vq.ModelInfo:
    return vq.ModelInfo(model_id, model_id, "segmentation", 100_000, True, model_id, "A tiny one.")


def shaken(
    model: vq.Model, images: Any, recipe: Any, progress: Any = None, cancel: Any = None, seed: int = 0
):
    """In place of `vq.quantize`: weights with noise, the more the fewer bits."""
    for number, _ in enumerate(images):
        if cancel is not None and cancel():
            raise vq.Cancelled("cancelled")
        progress(number / len(images), "Measuring activations")
    torch.manual_seed(seed)
    module = copy.deepcopy(model.module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * parameter.std() * 2.0 ** (-recipe.weight_bits))
    return SimpleNamespace(model=module, report=SimpleNamespace(size_mb=1.0, fp32_size_mb=4.0))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SegmentBench]:
    listed = vq.list_models()
    models = {TINY: tiny_sam(), OTHER: tiny_sam(seed=5)}
    monkeypatch.setenv("VITQ_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(vq, "list_models", lambda: [*listed, info(TINY), info(OTHER)])
    monkeypatch.setattr(settings, "models", lambda: [("Tiny", TINY), ("Other", OTHER)])
    monkeypatch.setattr(vq, "load_model", lambda name: vq.Model(models[name], None, None, info(name)))
    monkeypatch.setattr(vq, "quantize", shaken)
    monkeypatch.setattr(settings, "methods", lambda: [("Min-max", "minmax")])
    monkeypatch.setattr(
        SamSettings, "engine_recipe", lambda self: vq.recipe("minmax", self.weight_bits, self.act_bits)
    )
    return SegmentBench(Workbench())


@pytest.fixture
def page(bench: SegmentBench) -> Page:
    with gr.Blocks():
        return Page(bench)


@pytest.fixture
def visitor(page: Page) -> Callable[[], Visitor]:
    """Makes visitors of one page."""
    return lambda: Visitor(page)


class Visitor:
    """What one browser holds: the values of the page's parts, of which handlers change some."""

    def __init__(self, page: Page):
        self.page, self.board = page, page.board
        self.held = {
            part: part.value for part in (*page.form.fields.values(), *page.everything.fields.values())
        }
        self.held |= {
            self.board.visit: None, self.board.shown: None, self.board.layer: "both", self.board.tool: "on",
            page.done: None,
        }  # fmt: skip
        self.seen: dict[Any, Any] = {}

    def takes(self, updates: Any) -> dict[Any, Any]:
        """What a handler gave is now in the browser."""
        self.seen = updates if isinstance(updates, dict) else {}
        self.held |= {part: value for part, value in self.seen.items() if isinstance(part, gr.State)}
        return self.seen

    def opens(self) -> Visitor:
        self.takes(self.board.open(self.held))
        return self

    def sends(self, data: Any) -> dict[Any, Any]:
        return self.takes(self.board.point(self.held, SimpleNamespace(_data=data)))

    def clicks(self, x: float, y: float, positive: bool = True) -> dict[Any, Any]:
        return self.sends({"key": self.key, "kind": "point", "place": [x, y], "positive": positive})

    def drags(self, *box: float) -> dict[Any, Any]:
        return self.sends({"key": self.key, "kind": "box", "place": list(box)})

    def drops(self, path: Path) -> dict[Any, Any]:
        return self.takes(self.board.drop({**self.held, self.page.form.upload: str(path)}))

    @property
    def key(self) -> str:
        return self.held[self.board.visit].picture.key

    @property
    def visit(self) -> Any:
        return self.held[self.board.visit]

    @property
    def said(self) -> str:
        return self.seen[self.board.said]
