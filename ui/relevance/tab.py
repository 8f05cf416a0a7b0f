"""The studio's second page: which layers matter, what bits they get, and where both models look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import gradio as gr
from gradio.components import Component

from ..parts import markup, steps
from ..parts.bits_table import is_filled
from ..parts.forms import LIGHT
from ..parts.frame import Frame
from ..parts.model_bar import ModelBar
from ..parts.settings import RunSettings
from ..running.runs import HEAVY, Data, Updates, sentence
from ..workbench import Workbench
from .bits import BitsSection
from .explain import ExplainSection
from .quantize import QuantizeSection
from .score import ScoreSection
from .settings import gallery_of, gallery_problems

STEPS = (
    ("Score the layers", "Which layers matter to the answers, block by block."),
    ("Choose bits per layer", "By a rule or by hand; what the bits cost is counted at once."),
    ("Quantize with these bits", "Make the small model with the bits above."),
    ("See where the models look", "The parts of a picture that support the answer, before and after."),
)


class Takes(Protocol):
    """A page that shows results: `outputs` are the components that `take` changes."""

    outputs: set[Component]

    def take(self, settings: RunSettings | None) -> Updates: ...


def build(bench: Workbench, tab: gr.Tab, frame: Frame) -> Page:
    """Adds the page to the studio, which is being built."""
    page = Page(bench, frame.bar)
    page.connect(tab)
    for section in (page.score, page.bits, page.quantize):
        frame.studio.unload(section.run.leave)
    frame.studio.unload(page.explain.leave)
    return page


class Page:
    """The four steps one below the other, and what has to happen in several of them together."""

    def __init__(self, bench: Workbench, bar: ModelBar):
        self.bench, self.bar = bench, bar
        self.opened = gr.State(None)  # the model that the page is filled for
        _step(1)
        self.score = ScoreSection(bench, bar)
        _step(2)
        self.bits = BitsSection(bench, self.score)
        _step(3)
        self.quantize = QuantizeSection(bench, self.bits)
        _step(4)
        self.explain = ExplainSection(bench, self.score, self.quantize, bar.shown)

    def connect(self, tab: gr.Tab) -> None:
        scored = self.score.connect()
        tables = self.bits.connect()
        self.quantized = self.quantize.connect(tables)
        self.explain.connect()
        given = self.explain.inputs | self.explain.asked | self.bits.inputs
        given |= {self.bits.table, self.opened, self.bar.tab}
        outputs = {*self.outputs, self.opened}
        scored.success(self.follow, given | {self.score.scores}, outputs, show_progress="hidden", **HEAVY)
        model = self.score.fields["model"]
        clear = self.bar.while_open(tab, lambda data, request: self.clear(request))
        cleared = model.change(clear, {self.bar.tab}, outputs, **LIGHT)
        quiet = {"show_progress": "hidden", "trigger_mode": "always_last", **HEAVY}
        tab.select(self.open, given, outputs, **quiet)

        def changed(data: Data, request: gr.Request) -> Iterator[Updates]:
            """There is another model or result, maybe while another tab is open."""
            yield from self.open(data, request) if data[self.bar.tab] == tab.id else [gr.skip()]

        cleared.then(changed, given, outputs, **quiet)
        self.bar.shown.change(changed, given, outputs, **quiet)  # made here, or arrived after the tab opened

    def connect_result(self, page: Takes) -> None:
        """What was quantized here is the result of all tabs, which `page` shows."""
        self.quantized.success(page.take, self.quantize.done, page.outputs, **LIGHT)

    @property
    def outputs(self) -> set[Any]:
        sections = (self.score, self.bits, self.quantize, self.explain)
        return set().union(*(section.outputs for section in sections))

    def clear(self, request: gr.Request) -> Updates:
        """Another model: nothing on the page is about it, and no run under way is."""
        for section in (self.score, self.bits, self.quantize):
            section.run.leave(request)
        self.explain.leave(request)
        sections = (self.score, self.bits, self.quantize, self.explain)
        return {self.opened: None, **{k: v for section in sections for k, v in section.clear().items()}}

    def open(self, data: Data, request: gr.Request) -> Iterator[Updates]:
        """A table to edit and pictures to explain, where that needs no download."""
        known = self.bench.has_model(self.bits.values(data)["model"])
        yield from self._once(known, data, request)

    def follow(self, data: Data, request: gr.Request) -> Iterator[Updates]:
        """After a scoring that ended well the model is at hand."""
        yield from self._once(data[self.score.scores] is not None, data, request)

    def _once(self, possible: bool, data: Data, request: gr.Request) -> Iterator[Updates]:
        if not possible or self._is_filled(data):
            yield gr.skip()
            return
        if self._is_about_another(data):  # chosen while another tab was open
            yield self.clear(request)
        yield from self.explain.while_reading(lambda: self.fill(data, request))

    def _is_filled(self, data: Data) -> bool:
        """Whether the page is about the model, and its pictures are those of the newest result."""
        result = self.explain.result(data)
        opened = data[self.opened] == self.bits.values(data)["model"]
        return opened and (result is None or data[self.explain.listed] == result)

    def _is_about_another(self, data: Data) -> bool:
        return data[self.opened] not in (None, self.bits.values(data)["model"])

    def fill(self, data: Data, request: gr.Request) -> Updates:
        """The base bits everywhere, unless there is a table already, and the gallery."""
        values = self.bits.values(data)
        try:
            shown = {self.opened: values["model"]}
            # What was asked of an earlier model may have been answered after the page was cleared.
            if self._is_about_another(data) or not is_filled(data[self.bits.table]):
                shown |= self.bits.start_table(values)
            result = self.explain.result(data)
            if result is not None or not gallery_problems(values):
                pictures = result or gallery_of(values)
                shown |= self.explain.fill_gallery(pictures, data[self.explain.kind], request)
            return shown
        except Exception as error:
            return {
                self.bits.status: markup.banner("error", "The model could not be opened.", sentence(error))
            }


def _step(number: int) -> None:
    first = ["vq-first"] if number == 1 else []
    gr.HTML(steps.step(number, *STEPS[number - 1]), elem_classes=first)
