"""The page of all runs, and of what one can afford. Builds it and connects its events."""

from __future__ import annotations

import gradio as gr

from ..parts import steps
from ..parts.frame import Frame
from ..parts.model_bar import ModelBar
from ..running.opening import Opens, connect_opening
from ..workbench import Workbench
from .afford_section import AffordSection
from .endpoints import add_endpoints
from .runs_section import RunsSection

RUNS = ("How few bits are enough?", "Every run of a model: what it costs against how good it still is.")
AFFORD = (
    "What can I afford?",
    "Say how large the file may be or what it may lose, and see the bits that do it.",
)


def build(bench: Workbench, tab: gr.Tab, frame: Frame) -> Page:
    """Adds the page to the studio, which is being built."""
    page = Page(bench, frame.bar)
    page.connect(tab)
    frame.studio.unload(page.afford.run.leave)
    add_endpoints(bench)
    return page


class Page:
    """The handlers of one page definition; it keeps nothing of a visitor."""

    def __init__(self, bench: Workbench, bar: ModelBar):
        gr.HTML(steps.step(1, *RUNS), elem_classes="vq-first")
        self.runs = RunsSection(bench, bar)
        gr.HTML(steps.step(2, *AFFORD))
        self.afford = AffordSection(bench, self.runs)

    def connect_opening(self, page: Opens, name: str) -> None:
        """Runs are opened by `page`, whose tab is called `name`."""
        runs = self.runs
        connect_opening(runs.load, runs.opened, runs.asked, runs.status, page, name)

    def connect(self, tab: gr.Tab) -> None:
        self.runs.connect(tab)
        self.afford.connect(tab)
