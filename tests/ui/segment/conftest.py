"""What a browser that points at pictures holds, and pages over tiny models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from tests.segmenting import tiny_bench
from ui.segment.bench import SegmentBench
from ui.segment.tab import Page


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SegmentBench:
    return tiny_bench(monkeypatch, tmp_path / "home")


@pytest.fixture
def page(bench: SegmentBench) -> Page:
    with gr.Blocks():
        return Page(bench, gr.State(None))


@pytest.fixture
def visitor(page: Page) -> Callable[[], Visitor]:
    """Makes visitors of one page."""
    return lambda: Visitor(page)


class Visitor:
    """What one browser holds: the values of the page's parts, of which handlers change some."""

    def __init__(self, page: Page):
        self.page, self.board = page, page.board
        sections = (page.form, page.everything, page.measuring)
        self.held = {part: part.value for section in sections for part in section.fields.values()}
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
