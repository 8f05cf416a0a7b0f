"""The studio's first page: pick, quantize, compare. Builds the columns and connects their events."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

import vitq_core as vq
from vitq_core.experiment import open_picture
from vitq_core.experiment.samples import package_photographs

from ..explaining.explained import MAPS, Question, over_each_other
from ..parts import divider, markup, primer
from ..parts.forms import LIGHT, at
from ..parts.frame import Frame
from ..parts.outcome import Outcome
from ..parts.settings import RunSettings, from_form, problems
from ..parts.thumbnails import GALLERY_LIMIT
from ..running.run_parts import connect_download, connect_file, ended
from ..running.runs import HEAVY, Updates, check_settings, sentence
from ..running.server_run import ServerRun
from ..running.sweeps import Sweep
from ..workbench import ALONE, Kind, Reached, Workbench, planned
from . import aims
from .address import asked_for
from .form import Form, build_form
from .report_page import report_page
from .results import IDLE, Results, build_results, show_outcome, show_pair, show_sample

STOPPED = markup.banner("stopped", "Cancelled.", "Press Quantize to start again.")
# Behind what is answered at once; one after the other, of which the last counts.
LOOKING = {
    "concurrency_id": "looking", "concurrency_limit": 1, "show_progress": "hidden",
    "api_visibility": "private",
}  # fmt: skip
# Through the queue: else Gradio tells no listener that there is another result.
OPENING = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}
log = logging.getLogger(__name__)
NOT_OPENED = "This address cannot be opened."
GONE = "This result is no longer in memory; press Quantize to compute it again."


def build(bench: Workbench, tab: gr.Tab, frame: Frame) -> Page:
    """Adds the page to the studio, which is being built."""
    with gr.Accordion(primer.TITLE, open=False, elem_id="primer"):
        gr.HTML(primer.primer())
    with gr.Row(elem_classes="vq-page"):
        with gr.Column(scale=4, min_width=320, elem_classes="vq-form"):
            form = build_form(frame.bar)
        with gr.Column(scale=9, min_width=320, elem_classes="vq-results"):
            results = build_results()
    page = Page(bench, form, results, frame.bar.shown)
    page.connect()
    opened = frame.arrived.then(page.open, None, page.loads | {page.refused}, **OPENING)
    seen = page.form.inputs | {page.shown, page.refused}
    said = opened.then(page.reflect_opening, seen, page.results.status, **LIGHT)
    page.quantizing.connect_finding(said, form.inputs, page.loads)
    frame.studio.unload(page.quantizing.leave)
    return page


class Page:
    """The handlers of one page definition; it keeps nothing of a visitor."""

    def __init__(self, bench: Workbench, form: Form, results: Results, shown: gr.State):
        """`shown`: the settings of the result on the page."""
        self.bench, self.form, self.results, self.shown = bench, form, results, shown
        self.refused = gr.State(None)  # whether the page's address could not be opened
        self.done = gr.State(None)  # those of the run that just ended, None where it failed or was cancelled
        bench.kinds[aims.SMALLEST] = Kind(partial(aims.make_smallest, bench))
        self.quantizing = ServerRun(
            form.quantize, form.cancel, results.status, stopped=STOPPED, failed={self.done: None},
            live=results.live, kept=self.shown, server=bench, sweeps=bench.sweeps, wanted=self.wanted,
            show=self.show, kinds=(ALONE, aims.SMALLEST),
        )  # fmt: skip

    @property
    def outputs(self) -> set[Component]:
        return {*self.results.outputs, self.shown, self.done}

    @property
    def loads(self) -> set[Component]:
        """What `load` changes."""
        return self.outputs | self.form.inputs

    def take(self, settings: RunSettings | None) -> Updates:
        """A result that another page has made."""
        outcome = self.bench.outcome(settings) if settings is not None else None
        return gr.skip() if outcome is None else self._show(outcome)

    def load(self, settings: RunSettings) -> Updates:
        """A run of another page: its settings in the form, and its result where that is still in memory."""
        outcome = self.bench.outcome(settings)
        shown = {} if outcome is None else self._show(outcome, known=True)
        return {**self.form.filled(settings), **shown}

    def connect(self) -> None:
        self._connect_run()
        self._connect_pictures()
        gr.on(  # one event for all fields: the last answer is then to the last change
            [field.change for field in self.form.fields.values()],
            self.reflect, self.form.inputs | {self.shown}, self.results.status,
            trigger_mode="always_last", **LIGHT,
        )  # fmt: skip

    def _connect_run(self) -> None:
        form, results = self.form, self.results
        shown = self.outputs | form.inputs  # looking for the smallest model ends with its bits
        run = self.quantizing.connect(form.inputs, shown, form.validate, self._title)
        run.success(self.settle, self.form.inputs | {self.done}, results.status, **LIGHT)
        connect_download(results.download, self.bench, self.shown)
        connect_file(results.report, self.report, self.shown)

    def _connect_pictures(self) -> None:
        results = self.results
        shown = [results.picture, results.verdict, results.bars, results.divider, results.looked]
        results.gallery.select(self.pick, self.shown, shown, **LIGHT)
        results.photographs.select(self.try_photograph, self.shown, shown, show_progress="hidden", **HEAVY)
        results.looked.change(
            self.look, results.looked, results.divider, trigger_mode="always_last", **LOOKING
        )
        results.picture.upload(
            self.try_upload, [results.picture, self.shown], shown, show_progress="hidden", **HEAVY
        )

    def _title(self, data: Mapping[Component, Any]) -> str:
        return from_form(self.form.values(data)).title

    def wanted(self, data: Mapping[Component, Any]) -> dict[str, Any]:
        """What is asked of the server."""
        smallest = data.get(self.form.aim) == aims.SMALLEST
        return planned(from_form(self.form.values(data)), kind=aims.SMALLEST if smallest else ALONE)

    def show(self, sweep: Sweep) -> Updates:
        """What was made; after looking for the smallest model the form asks for its bits."""
        reached: Reached = sweep.made[-1]
        outcome = self.bench.outcome(reached.settings)
        if outcome is None:
            raise ValueError(GONE)
        shown = self._show(outcome, reached.known)
        if sweep.kind != aims.SMALLEST:
            return shown
        kind, said = aims.found(outcome)
        bits = {
            self.form.fields[name]: getattr(outcome.settings, name) for name in ("weight_bits", "act_bits")
        }
        status = markup.banner(kind, outcome.settings.title, said)
        return {**shown, self.results.status: status, **bits, self.form.aim: aims.OWN}

    def open(self, request: gr.Request) -> Updates:
        """What a visitor finds: what the address asks for, or else a finished result of the settings that the
        form opens with. Where the address asks for what cannot be, that is said above the result."""
        if self.quantizing.running(request):  # quicker than the answer to the opening
            return gr.skip()
        try:
            given = dict(getattr(request, "query_params", None) or {})
            asked = asked_for(self.bench, given, self.bench.visitors.owner(request.session_hash))
        except (ValueError, vq.StorageError) as error:
            said = markup.banner("error", NOT_OPENED, sentence(error))
            return {**self._example(), self.results.status: said, self.refused: True}
        return self.load(asked) if asked is not None else self._example() or gr.skip()

    def _example(self) -> Updates:
        try:
            outcome = self.bench.opening()
        except Exception:
            log.exception("the stored result cannot be shown")
            outcome = None
        return {} if outcome is None else self._show(outcome)

    def _show(self, outcome: Outcome, known: bool = False) -> Updates:
        reached = outcome.settings
        banner = ended(reached, outcome.stored, known)
        status = {self.results.status: banner, self.shown: reached, self.done: reached}
        return {**show_outcome(self.results, outcome), **status}

    def reflect_opening(self, data: Mapping[Component, Any], request: gr.Request) -> Any:
        """What the opening said of the address stays."""
        return gr.skip() if data[self.refused] else self.reflect(data, request)

    def reflect(self, data: Mapping[Component, Any], request: gr.Request) -> Any:
        """After a change of the form: what is wrong with it, is the result still its own?"""
        if self.quantizing.has_last_word(data, request):
            return gr.skip()
        said = self._compare(data, data[self.shown])
        # Asked before the run that the page is about had shown its result.
        return gr.skip() if said == IDLE and self.quantizing.follows(request) else said

    def settle(self, data: Mapping[Component, Any]) -> Any:
        """After a run: the form may have changed meanwhile. Where it did not, the run's banner stays."""
        reached = data[self.done]
        return gr.skip() if reached is None or self._asks_for(data, reached) else self._compare(data, reached)

    def _asks_for(self, data: Mapping[Component, Any], shown: RunSettings) -> bool:
        values = self.form.values(data)
        return not problems(values) and from_form(values) == shown.complete

    def _compare(self, data: Mapping[Component, Any], shown: RunSettings | None) -> str:
        wrong = problems(self.form.values(data))
        if wrong:
            return check_settings(wrong, self.form.fields, shown)
        if shown is None:
            return IDLE
        if self._asks_for(data, shown):
            outcome = self.bench.outcome(shown)
            return ended(shown, outcome is not None and outcome.stored)
        still = f"Below is still {shown.title}; press Quantize to update."
        return markup.banner("stale", "The settings changed.", still)

    def report(self, shown: RunSettings | None) -> str:
        """The path of the result as one HTML file. gr.Error where it is gone."""
        outcome = self._outcome(shown)
        return str(self.bench.text_file(f"{outcome.settings.slug}.html", report_page(outcome)))

    def pick(self, shown: RunSettings | None, event: gr.SelectData) -> Updates:
        outcome = self._outcome(shown)
        try:
            return show_sample(self.results, outcome, at(outcome.order[:GALLERY_LIMIT], event.index))
        except Exception as error:
            return self._failed(error)

    def try_photograph(self, shown: RunSettings | None, event: gr.SelectData) -> Updates:
        try:
            path = at(package_photographs(), event.index)
        except ValueError as error:
            return self._failed(error)
        return self._classify(path, shown)

    def try_upload(self, path: str | None, shown: RunSettings | None) -> Updates:
        return self._classify(Path(path), shown) if path else gr.skip()

    def _classify(self, path: Path, shown: RunSettings | None) -> Updates:
        outcome = self._outcome(shown)
        try:
            picture = open_picture(path)
            pair = self.bench.classify(outcome.settings, picture)
        except Exception as error:
            return self._failed(error)
        question = Question(
            outcome.settings.model, ("file", str(path)), path.name, quantized=outcome.settings
        )
        return show_pair(self.results, outcome, pair, picture, question)

    def look(self, question: Question | None) -> Any:
        """Where both models look in the picture on the page; nothing where that is gone by now."""
        outcome = self.bench.outcome(question.quantized) if question is not None else None
        if outcome is None:
            return divider.nothing()
        where, *which = question.picture
        try:
            picture = (
                open_picture(which[0]) if where == "file" else outcome.reference.samples[which[1]].read()
            )
            explained = self.bench.relevance.explain(question, picture)
            return over_each_other(explained, explained.drawn(MAPS[0]))
        except Exception as error:  # the answers stand above all the same
            log.info("a picture could not be explained: %s", sentence(error))
            return divider.nothing()

    def _failed(self, error: Exception) -> Updates:
        banner = markup.banner("error", "This picture could not be tried.", sentence(error))
        return {
            self.results.picture: None, self.results.verdict: banner, self.results.bars: "",
            self.results.looked: None,
        }  # fmt: skip

    def _outcome(self, shown: RunSettings | None) -> Outcome:
        outcome = self.bench.outcome(shown) if shown else None
        if outcome is None:
            raise gr.Error(GONE, print_exception=False)
        return outcome
