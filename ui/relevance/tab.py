"""The studio's second page: which layers matter, what bits they get, and where both models look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from ..parts import markup, steps
from ..parts.bits_table import is_filled
from ..parts.forms import LIGHT
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


def build(bench: Workbench, studio: gr.Blocks, tab: gr.Tab) -> None:
    """Adds the page to `studio`, which is being built."""
    page = Page(bench)
    page.connect(tab)
    for section in (page.score, page.bits, page.quantize):
        studio.unload(section.run.leave)
    studio.unload(page.explain.leave)


class Page:
    """The four steps one below the other, and what has to happen in several of them together."""

    def __init__(self, bench: Workbench):
        self.bench = bench
        self.opened = gr.State(None)  # the model that the page is filled for
        _step(1)
        self.score = ScoreSection(bench)
        _step(2)
        self.bits = BitsSection(bench, self.score)
        _step(3)
        self.quantize = QuantizeSection(bench, self.bits)
        _step(4)
        self.explain = ExplainSection(bench, self.score, self.quantize)

    def connect(self, tab: gr.Tab) -> None:
        scored = self.score.connect()
        tables = self.bits.connect()
        quantized = self.quantize.connect(tables)
        self.explain.connect()
        explained = self.explain.inputs | self.explain.asked
        quantized.success(self.compare, explained | {self.quantize.done}, self.explain.outputs, **HEAVY)
        given = explained | self.bits.inputs | {self.bits.table, self.opened}
        outputs = {*self.outputs, self.opened}
        scored.success(self.follow, given | {self.score.scores}, outputs, show_progress="hidden", **HEAVY)
        model = self.score.fields["model"]
        cleared = model.change(self.clear, None, outputs, **LIGHT)
        for event in (tab.select, cleared.then):
            event(self.open, given, outputs, show_progress="hidden", trigger_mode="always_last", **HEAVY)

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
        if not possible or data[self.opened] == self.bits.values(data)["model"]:
            yield gr.skip()
            return
        yield from self.explain.while_reading(lambda: self.fill(data, request))

    def fill(self, data: Data, request: gr.Request) -> Updates:
        """The base bits everywhere, unless there is a table already, and the gallery."""
        values = self.bits.values(data)
        try:
            shown = {self.opened: values["model"]}
            if not is_filled(data[self.bits.table]):
                shown |= self.bits.start_table(values)
            if not gallery_problems(values):
                shown |= self.explain.fill_gallery(gallery_of(values), data[self.explain.kind], request)
            return shown
        except Exception as error:
            return {
                self.bits.status: markup.banner("error", "The model could not be opened.", sentence(error))
            }

    def compare(self, data: Data, request: gr.Request) -> Iterator[Updates]:
        """After a run: the picture that changed most, explained by both models."""
        if data[self.quantize.done]:
            yield from self.explain.fill_clicked(data, request)
        else:
            yield gr.skip()


def _step(number: int) -> None:
    first = ["vq-first"] if number == 1 else []
    gr.HTML(steps.step(number, *STEPS[number - 1]), elem_classes=first)
