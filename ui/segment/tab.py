"""The third page: two Segment Anything models answer every click. Builds it and connects its events."""

from __future__ import annotations

from typing import Any

import gradio as gr

from vitq_core.experiment.measure import Progress

from ..parts import markup, steps
from ..parts.forms import LIGHT
from ..parts.frame import Frame
from ..parts.jobs import Job
from ..running.run_parts import care, connect_download, ended, model_download, status_line
from ..running.runs import Data, Run, Updates, check_settings
from ..workbench import Workbench
from . import settings, view
from .bench import SegmentBench
from .board import Board
from .clicks import CLICK
from .endpoint import add_endpoints
from .everything_section import EverythingSection
from .form import Form
from .measure_section import MeasureSection
from .settings import NO_MODEL, SamSettings

IDLE = markup.banner("idle", "Only full precision answers.", "Press Quantize, and both models do.")
POINT = ("Point at things", "Every click is answered in full precision and, once quantized, by both models.")
EVERYTHING = ("Segment everything", "All objects of the picture, counted and matched between both models.")
MEASURE = ("Measure both", "How well each model finds objects whose outlines are known.")
STOPPED = markup.banner("stopped", "Cancelled.", "Press Quantize to start again.")


def build(bench: Workbench, tab: gr.Tab, frame: Frame) -> Page | None:
    """Adds the page to the studio, which is being built."""
    segmenting = SegmentBench(bench)
    add_endpoints(segmenting)
    if not settings.models():
        gr.HTML(markup.banner("idle", NO_MODEL), elem_id="segment-none")
        return None
    page = Page(segmenting, frame.bar.shown_masks)
    page.connect(tab)
    for run in (page.run, page.everything.run, page.measuring.run):
        frame.studio.unload(run.leave)
    return page


class Page:
    """The handlers of one page definition; it keeps nothing of a visitor."""

    def __init__(self, bench: SegmentBench, shown: gr.State):
        """`shown`: the settings of the quantized model that answers."""
        self.bench = bench
        gr.HTML(steps.step(1, *POINT), elem_classes="vq-first")
        with gr.Row(elem_classes="vq-page vq-segment"):
            with gr.Column(scale=4, min_width=320, elem_classes="vq-form"):
                self.form = Form(bench.bench.has_model)
            with gr.Column(scale=9, min_width=320, elem_classes="vq-results"):
                self.status = status_line(IDLE, "segment-status")
                self.warning = gr.HTML(visible=False)
                self.board = Board(bench, self.form, shown)
                with gr.Column(visible=False) as self.outcome:
                    self.tried = gr.HTML(elem_id="segment-tried")
                    self.download = model_download("segment-model-download")
        gr.HTML(steps.step(2, *EVERYTHING), elem_id="everything-step")
        self.everything = EverythingSection(bench, self.board)
        gr.HTML(steps.step(3, *MEASURE), elem_id="measure-step")
        self.measuring = MeasureSection(bench, self.board)
        self.done = gr.State(None)  # the settings of the run that just ended
        self.run = Run(
            self.form.start, self.form.stop, self.status, STOPPED, {self.done: None},
            work=self.quantize, kept=self.board.shown, server=bench.bench,
        )  # fmt: skip

    def connect(self, tab: gr.Tab) -> None:
        board, form = self.board, self.form
        form.connect()
        board.connect()
        self.everything.connect()
        self.measuring.connect()
        opened = tab.select(board.open, board.asked, board.outputs, **CLICK)
        opened.then(board.encode, board.asked, None, **CLICK)
        run = self.run.connect(
            form.inputs,
            {self.status, self.outcome, self.tried, self.warning, self.done},
            form.validate,
            form.title,
        )
        form.fields["model"].change(_hidden, None, [self.outcome, self.warning], **LIGHT)
        connect_download(self.download, self.bench, board.shown)
        run.success(self.use, board.asked | {self.done}, board.outputs, **CLICK)
        gr.on(  # one event for all fields: the last answer is then to the last change
            [field.change for field in form.fields.values()],
            self.reflect, form.inputs | {board.shown}, self.status, trigger_mode="always_last", **LIGHT,
        )  # fmt: skip

    def quantize(self, data: Data, progress: Progress, job: Job) -> Updates:
        asked = settings.from_form(self.form.values(data))
        known = self.bench.made(asked) is not None
        made = self.bench.quantize(asked, progress, job)
        report = made.result.report
        return {
            self.status: ended(asked, known=known),
            self.outcome: gr.update(visible=True),
            self.tried: view.tried(made.tried, (report.size_mb, report.fp32_size_mb)),
            self.warning: care(" ".join(made.tried.signs)),
            self.done: asked,
        }

    def use(self, data: Data) -> Updates:
        """After a run: both models answer what is pointed at by now."""
        done = data[self.done]
        if done is None or done.model != data[self.form.fields["model"]]:
            return gr.skip()
        return self.board.refresh({**data, self.board.shown: done})

    def reflect(self, data: Data, request: gr.Request) -> Any:
        """After a change of the form: what is wrong with it, and is the quantized model still its own?"""
        if self.run.has_last_word(data, request):
            return gr.skip()
        values, shown = self.form.values(data), data[self.board.shown]
        wrong = settings.problems(values)
        if wrong:
            return check_settings(wrong, self.form.fields, shown)
        return self._compare(settings.from_form(values), shown)

    def _compare(self, asked: SamSettings, shown: SamSettings | None) -> str:
        if shown is None or shown.model != asked.model:
            return IDLE
        if asked == shown:
            return ended(shown)
        still = f"Below still answers {shown.title}; press Quantize to update."
        return markup.banner("stale", "The settings changed.", still)


def _hidden() -> list[Any]:
    """Another model: the numbers of the last run are not about it."""
    return [gr.update(visible=False)] * 2
