"""What a page has brought from the hub and from files, and the boxes in which it is then chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from ..parts import markup
from ..parts.model_bar import ModelBar, choosing
from ..parts.model_list import SEGMENTS, called, task_of
from ..parts.opened_tab import open_tab
from ..running.runs import Run, Updates

PROMPTED = "Segment"  # the tab that is about what answers prompts
NO_PROMPTS = "It is a Segment Anything, which has a page of its own here: Segment."
STOPPED = markup.banner("stopped", "Cancelled.", "What is here is kept: press the button again to go on.")
IDLE = ""
REFUSED = "This model cannot be used."
LOOKING = {"concurrency_id": "look up", "concurrency_limit": 4, "api_visibility": "private"}
FETCHING = {"concurrency_id": "fetch", "concurrency_limit": 2, "api_visibility": "private"}


class Fetch(Run):
    """A download, or a file that is read: it waits for no run."""

    queue = FETCHING


class Brought:
    """`own`: the ids of what this page brought by now. `prompted`: the box of models that answer prompts,
    where there is one."""

    def __init__(self, bar: ModelBar, prompted: Component | None = None):
        self.bar, self.prompted, self.own = bar, prompted, gr.State(None)

    @property
    def outputs(self) -> set[Component]:
        boxes = {self.bar.fields["model"], self.bar.last, self.bar.opens, self.own}
        return boxes | ({self.prompted} if self.prompted is not None else set())

    def chosen(self, model_id: str, data: Mapping[Component, Any], status: Component) -> Updates:
        """The page is about it now. ValueError where no page can be."""
        own = data[self.own] or []
        kept = {self.own: [*own, model_id]}
        if task_of(model_id) not in SEGMENTS:
            said = markup.banner("done", f"{called(model_id)} is chosen.", "All tabs are about it.")
            boxes = {self.bar.fields["model"]: choosing(model_id, own), self.bar.last: model_id}
            return {**kept, **boxes, status: said}
        if self.prompted is None:
            raise ValueError(NO_PROMPTS)
        said = markup.banner("done", f"{called(model_id)} is chosen.", f"The page {PROMPTED} is about it.")
        box = {self.prompted: choosing(model_id, own, SEGMENTS), self.bar.opens: PROMPTED}
        return {**kept, **box, status: said}

    def then_opens(self, run: Any) -> None:
        """After the event `run` the page opens that is about what was chosen."""
        open_tab(run, self.bar.opens)
