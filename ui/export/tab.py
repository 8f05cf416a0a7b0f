"""The page of exports. Builds it and connects its events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

import vitq_core as vq
from vitq_core.experiment.runs import RUNNING

from ..parts import markup, steps
from ..parts.forms import LIGHT
from ..parts.frame import Frame
from ..parts.model_bar import ModelBar
from ..parts.opened_tab import open_tab
from ..publishing import Publishing
from ..running.run_parts import connect_file, start_and_stop, status_line
from ..running.runs import Data, Updates, sentence
from ..running.server_run import ServerRun
from ..running.sweeps import Sweep
from ..workbench import Workbench
from . import aims, choosing, view
from .endpoint import add_endpoint
from .making import EXPORT, INTEGER, Exported, Exports, Refused

INTRO = (
    "Take the model elsewhere",
    "One file for other programs, compared with the model that you saw before you download it.",
)
IDLE = markup.banner(
    "idle", "Nothing exported yet.", "Choose a run and what the file is for, then press Export."
)
STOPPED = markup.banner("stopped", "Cancelled.", "Press Export to start again.")
EMPTY = steps.waiting("Size, speed and the certificate appear here, and then the download.")
OFFER = (
    "Its integer form gives those values even steps at 8 bits, and the others the bits that they had. It is "
    "quantized again from the same pictures, judged on the same test pictures, and exported."
)
NOTE = (
    "One .zip: the model, these figures (certificate.json, speed.json), and a README.md with how to run it."
)
GONE = "This file is no longer on the server; press Export to write it again."


def build(bench: Workbench, tab: gr.Tab, frame: Frame) -> Page:
    """Adds the page to the studio, which is being built."""
    exports = Exports(bench)
    page = Page(exports, frame.bar)
    page.connect(tab)
    page.connect_finding(frame.arrived, str(tab.id))
    for run in page.runs:
        frame.studio.unload(run.leave)
    add_endpoint(exports)
    return page


@dataclass(kw_only=True)
class OneOfTwo(ServerRun):
    """To begin one ends what the same page has begun of the `other`."""

    other: OneOfTwo | None = None

    def start_job(self, data: Data, request: gr.Request) -> None:
        if self.other is not None:
            self.other.drop(request)
        super().start_job(data, request)

    def drop(self, request: gr.Request) -> None:
        """Nobody wants it any more."""
        plan_id = self._plans.pop(request.session_hash, None)
        self.jobs.abandon(request.session_hash)
        if plan_id is not None:
            self.sweeps.stop(plan_id)


class Page:
    """The handlers of one page definition; it keeps nothing of a visitor.

    `listed`: the runs that the visitor may choose, as this server found them; `seen`: the settings of the
    results that other pages showed at the last look at this one; `shown`: the export on the page.
    """

    def __init__(self, exports: Exports, bar: ModelBar):
        self.exports, self.bench, self.bar = exports, exports.bench, bar
        self.listed, self.seen, self.shown = gr.State(None), gr.State(None), gr.State(None)
        gr.HTML(steps.step(1, *INTRO), elem_classes="vq-first")
        with gr.Row(elem_classes="vq-page"):
            with gr.Column(scale=4, min_width=320, elem_classes="vq-form"):
                self._build_form()
            with gr.Column(scale=9, min_width=320, elem_classes="vq-results"):
                self._build_results()
        self.run = self._server_run(self.start, self.stop, EXPORT)
        self.integer = self._server_run(self.start_integer, self.stop_integer, INTEGER)
        self.run.other, self.integer.other = self.integer, self.run

    def _build_form(self) -> None:
        with gr.Group(elem_classes="vq-group"):
            self.which = gr.Dropdown([], value=None, label="Run to export", elem_id="export-run")
        with gr.Group(elem_classes="vq-group"):
            self.format = gr.Radio(
                aims.choices(), value=aims.first(), label="What is the file for?", elem_id="export-format"
            )
            self.note = gr.HTML(markup.note(aims.sentence(aims.first())), elem_classes="vq-noted")
            for absent in aims.missing():
                gr.HTML(markup.note(absent), elem_classes="vq-noted vq-absent")
        self.start, self.stop = start_and_stop("Export", "export", "export-cancel")

    def _build_results(self) -> None:
        self.status = status_line(IDLE, "export-status")
        with gr.Column(visible=False, elem_id="export-offer") as self.offer:
            gr.HTML(markup.note(OFFER))
            self.start_integer, self.stop_integer = start_and_stop(
                "Export its integer form", "export-integer", "export-integer-cancel"
            )
        self.empty = gr.HTML(EMPTY, elem_id="export-empty")
        with gr.Column(visible=False, elem_id="exported") as self.panel:
            self.judged = gr.HTML(visible=False, elem_id="export-judged")
            self.certificate = gr.HTML(elem_id="export-certificate")
            with gr.Row(elem_classes="vq-download"):
                self.download = gr.Button(
                    "Download", variant="primary", elem_id="export-download", scale=0, min_width=150
                )
                gr.HTML(markup.note(NOTE))
            Publishing(self.exports, self.shown)

    def _server_run(self, start: gr.Button, stop: gr.Button, kind: str) -> OneOfTwo:
        return OneOfTwo(
            start, stop, self.status, stopped=STOPPED, kept=self.shown, server=self.bench,
            sweeps=self.bench.sweeps, wanted=lambda data: self.wanted(data, kind), show=self.show,
            kinds=(kind,),
        )  # fmt: skip

    @property
    def runs(self) -> tuple[OneOfTwo, OneOfTwo]:
        return self.run, self.integer

    @property
    def asked(self) -> set[Component]:
        return {self.which, self.format, self.listed}

    @property
    def outputs(self) -> set[Component]:
        """What an export changes."""
        return {
            self.status, self.offer, self.empty, self.panel, self.judged, self.certificate, self.shown
        }  # fmt: skip

    def connect(self, tab: gr.Tab) -> None:
        chosen = {self.status, self.offer, self.note}
        given = self.asked | {self.shown}
        for run in self.runs:
            ended = run.connect(self.asked, self.outputs, self._validate, self._title)
            ended.success(self.reflect, given, chosen, **LIGHT)  # another choice may have been made meanwhile
        looked_at = given | {self.seen, self.bar.shown, self.bar.shown_masks, self.bar.tab}
        opened = chosen | {self.which, self.listed, self.seen}
        tab.select(self.open, looked_at, opened, **LIGHT)
        arrived = self.bar.while_open(tab, self.open)  # a result that came after the tab opened
        self.bar.shown.change(arrived, looked_at, opened, **LIGHT)
        gr.on(
            [self.which.change, self.format.change],
            self.reflect,
            given,
            chosen,
            trigger_mode="always_last",
            **LIGHT,
        )
        connect_file(self.download, self.file, self.shown)

    def connect_finding(self, arrived: Any, name: str) -> None:
        """A page whose address names an export opens this tab, `name`, and goes on with it."""
        opens = gr.Textbox(label="Tab to open", visible=False)

        def opening(request: gr.Request) -> Any:
            sweeps = [run.addressed(request) for run in self.runs]
            if not any(sweeps):
                return gr.skip()
            integer = sweeps[1] is not None and sweeps[1].state == RUNNING
            return {opens: name, **({self.offer: gr.update(visible=True)} if integer else {})}

        open_tab(arrived.then(opening, None, {opens, self.offer}, **LIGHT), opens)
        for run in self.runs:
            run.connect_finding(arrived, self.asked, self.outputs)

    def settings(self, data: Data) -> Any:
        """Of the chosen run. ValueError where none is."""
        return choosing.chosen(data[self.listed], data[self.which])

    def wanted(self, data: Data, kind: str) -> dict[str, Any]:
        """What is asked of the server. ValueError for what cannot be."""
        wrong = aims.problem(data[self.format])
        if wrong:
            raise ValueError(wrong)
        return self.exports.plan(self.settings(data), data[self.format], kind)

    def _validate(self, data: Data) -> list[dict]:
        wrong = {self.format: aims.problem(data[self.format])}
        try:
            self.settings(data)
        except ValueError:
            wrong[self.which] = choosing.NOTHING
        return [gr.validate(not wrong.get(component), wrong.get(component, "")) for component in data]

    def _title(self, data: Data) -> str:
        return self.settings(data).title

    def open(self, data: Data, request: gr.Request) -> Updates:
        """At a look at the page: the newest result is chosen, unless the visitor has seen that before."""
        shown = [data[each] for each in (self.bar.shown_masks, self.bar.shown) if data[each] is not None]
        fresh = [each for each in shown if each not in (data[self.seen] or ())]
        try:
            owner = self.bench.visitors.owner(request.session_hash)
            found = choosing.choices(self.exports, owner, shown)
        except vq.StorageError as error:
            return {self.status: markup.banner("error", "Stored runs cannot be shown.", sentence(error))}
        key = data[self.which]
        if not isinstance(key, str) or key not in found or fresh:
            newest = next(iter((*fresh, *shown)), None)
            key = choosing.id_of(found, newest) or next(iter(found), None)
        listed = [(choice.name, each) for each, choice in found.items()]
        return {
            self.listed: found,
            self.seen: shown,
            self.which: gr.update(choices=listed, value=key),
            **self.reflect({**data, self.listed: found, self.which: key}, request),
        }

    def reflect(self, data: Data, request: gr.Request) -> Updates:
        """After another choice: what the format is, whether it can hold the run, what is shown."""
        note = {self.note: markup.note(aims.sentence(data[self.format]))}
        if any(run.has_last_word(data, request) for run in self.runs):
            return note
        try:
            settings = self.settings(data)
        except ValueError:
            return {**note, self.status: IDLE, self.offer: gr.update(visible=False)}
        return {**note, **self._state(settings, data[self.format], data[self.shown])}

    def _state(self, settings: Any, name: Any, shown: Exported | None) -> Updates:
        if shown is not None and (shown.asked, shown.format) == (settings, name):
            return {self.status: _done(shown), self.offer: gr.update(visible=False)}
        reason = "" if aims.problem(name) else self.exports.refusal(settings, name)
        if reason:
            return self._refused(Refused(settings, name, reason), shown)
        still = markup.banner(
            "stale", "Another run or aim is chosen.", f"Below is still {_title(shown)}; press Export."
        )
        return {self.status: IDLE if shown is None else still, self.offer: gr.update(visible=False)}

    def _refused(self, found: Refused, shown: Exported | None) -> Updates:
        cannot = f"{aims.title(found.format)} cannot hold this run."
        return {
            self.status: markup.banner("warning", cannot, found.reason, _title(shown)),
            self.offer: gr.update(visible=self.exports.has_integer_form(found.asked)),
        }

    def show(self, sweep: Sweep) -> Updates:
        """What the server made, or why it could not."""
        made = sweep.made[-1]
        if isinstance(made, Refused):
            return {**self._refused(made, None), **self._panel(None)}
        if not made.path.exists():
            raise ValueError(GONE)
        return {
            self.status: _done(made),
            self.offer: gr.update(visible=False),
            self.judged: gr.update(value=made.judged, visible=bool(made.judged)),
            self.certificate: view.certificate(made.certificate, made.speed),
            **self._panel(made),
        }

    def _panel(self, made: Exported | None) -> Updates:
        return {
            self.shown: made,
            self.panel: gr.update(visible=made is not None),
            self.empty: gr.update(visible=made is None),
        }

    def file(self, shown: Exported | None) -> str:
        """The path of the zip. gr.Error where it is gone."""
        if shown is None or not shown.path.exists():
            raise gr.Error(GONE, print_exception=False)
        return str(shown.path)


def _done(made: Exported) -> str:
    return markup.banner("done", made.title, "Compared; see the certificate, then download.")


def _title(shown: Exported | None) -> str:
    return "" if shown is None else shown.title
