"""Every run of a model: a chart, a table, sweeps that fill them, and one or two runs looked at closely."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

import vitq_core as vq
from vitq_core.experiment import is_name
from vitq_core.experiment.runs import RUNNING, STOPPED, Plan, as_csv

from ..parts import markup
from ..parts.forms import LIGHT, Count, Fields, bits_slider, first_recipe
from ..parts.model_bar import ModelBar
from ..parts.model_list import SHOWN
from ..parts.settings import RunSettings
from ..parts.stored_outcome import run_settings
from ..running.run_parts import connect_file, status_line
from ..running.runs import Data, Updates, check_settings, sentence
from ..running.sweeps import Sweep
from ..workbench import ANSWERS, MASKS, Workbench
from . import settings, view
from .chart import Guess, chart
from .points import COSTS, Point, comparable, points_of

IDLE = markup.banner("idle", "Nothing is made now.", "Press one of the buttons; runs go on without you.")
TICK = 2.0  # seconds between two looks at a sweep
MOST_CHOSEN = 2
NOT_SHOWN = "Stored runs cannot be shown."
MIXED = (
    "This run has bits of its own for every layer, which that form cannot show, and its result is no longer "
    "in memory: make it again, and open it then."
)
INTEGER = (
    "This run is of an integer form, which that form cannot ask for, and its result is no longer in memory: "
    "choose it on the page Export."
)
NOT_YOURS = "There is no such run of yours any more; examples stay as they are."
NOTHING_CHOSEN = "Click on a row of the table first."
IN_SWEEPS = (ANSWERS, MASKS)  # kinds of runs
NO_FORM = (
    "This run was made at a command line, with options that no page has; `vitq export` writes its model."
)
NO_MASKS = "Runs of Segment Anything are made again on its own page, Segment."


class RunsSection:
    """`chosen`: ids of the runs looked at; `plan`: of the sweep shown; `guess`: a prediction."""

    def __init__(self, bench: Workbench, bar: ModelBar):
        self.bench, self.bar = bench, bar
        self.fields: Fields = dict(bar.fields)
        self.chosen, self.plan, self.guess = gr.State(None), gr.State(None), gr.State(None)
        self.timer = gr.Timer(TICK, active=False)
        with gr.Row(elem_classes="vq-page"):
            with gr.Column(scale=4, min_width=320, elem_classes="vq-form"):
                self._build_form()
            with gr.Column(scale=9, min_width=320, elem_classes="vq-results"):
                self._build_results()

    def _build_form(self) -> None:
        with gr.Group(elem_classes="vq-group"):
            self.fields["method"] = gr.Dropdown(
                _methods(self.fields["model"].value),
                value=first_recipe(),
                label="Method",
                elem_id="tradeoffs-method",
            )
            self.by_bits = gr.Button(
                "Try 8, 6, 4, 3, 2 bits", variant="primary", elem_id="tradeoffs-bits-sweep"
            )
        with gr.Group(elem_classes="vq-group"):
            self.fields["bits"] = bits_slider("Bits", "tradeoffs-bits")
            self.by_method = gr.Button("Compare all methods", elem_id="tradeoffs-method-sweep")
        with gr.Group(elem_classes="vq-group", visible=False) as self.scenes:
            count = Count("judged", "Scenes to judge on", settings.JUDGED, "tradeoffs-judged")
            self.fields["judged"] = count.build(90)
        with gr.Row(elem_classes="vq-actions"):
            self.stop = gr.Button("Stop", interactive=False, elem_id="tradeoffs-stop", min_width=90)
            self.go_on = gr.Button("Go on", visible=False, elem_id="tradeoffs-go-on", min_width=90)

    def _build_results(self) -> None:
        self.status = status_line(IDLE, "tradeoffs-status")
        costs = [(title, name) for name, (title, _) in COSTS.items()]
        self.cost = gr.Radio(costs, value="size", label="Against", elem_id="tradeoffs-cost")
        self.plot = gr.Plot(show_label=False, elem_id="tradeoffs-plot")
        self.note = gr.HTML(markup.note(view.NOTHING), elem_id="tradeoffs-note")
        self.table = gr.Dataframe(
            headers=view.HEADERS, datatype=view.TYPES, interactive=False, max_height=320, show_label=False,
            visible=False, elem_id="tradeoffs-table",
        )  # fmt: skip
        self.csv = gr.Button("Download all as CSV", size="sm", elem_id="tradeoffs-csv")
        self.details = gr.HTML(view.details([]), elem_id="tradeoffs-details")
        with gr.Row(visible=False, elem_classes="vq-tools") as self.tools:
            self.name = gr.Textbox(label="Name", max_lines=1, elem_id="tradeoffs-name")
            self.rename = gr.Button("Rename", size="sm", min_width=90, elem_id="tradeoffs-rename")
            self.delete = gr.Button("Delete", size="sm", min_width=90, elem_id="tradeoffs-delete")
            self.load = gr.Button("Open in Quantize", size="sm", min_width=140, elem_id="tradeoffs-open")

    @property
    def asked(self) -> set[Component]:
        return {*self.fields.values(), self.cost, self.chosen, self.plan, self.guess}

    @property
    def outputs(self) -> set[Component]:
        return {
            self.status, self.plot, self.note, self.table, self.details, self.tools, self.name, self.chosen,
            self.plan, self.timer, self.stop, self.go_on,
        }  # fmt: skip

    @property
    def looked_at(self) -> set[Component]:
        """What a click on a row changes."""
        return {self.details, self.tools, self.name, self.chosen}

    def connect(self, tab: gr.Tab) -> None:
        tab.select(self.open, self.asked, self.outputs, **LIGHT)
        model = self.fields["model"]
        model.change(_model_chosen, model, [self.fields["method"], self.scenes], **LIGHT)
        self.cost.input(self.show, self.asked, self.outputs, **LIGHT)
        model.change(self.bar.while_open(tab, self.show), self.asked | {self.bar.tab}, self.outputs, **LIGHT)
        self.by_bits.click(self.sweep_bits, self.asked, self.outputs, **LIGHT)
        self.by_method.click(self.sweep_methods, self.asked, self.outputs, **LIGHT)
        self.stop.click(self.end, self.asked, self.outputs, **LIGHT)
        self.go_on.click(self.again, self.asked, self.outputs, **LIGHT)
        self.timer.tick(self.tick, self.asked, self.outputs - self.looked_at, **LIGHT)
        self.table.select(self.choose, self.asked, self.outputs, **LIGHT)
        self.rename.click(self.renamed, self.asked | {self.name}, self.outputs, **LIGHT)
        self.delete.click(self.deleted, self.asked, self.outputs, **LIGHT)
        connect_file(self.csv, self.file, None)

    def values(self, data: Data) -> dict[str, Any]:
        return {name: data[component] for name, component in self.fields.items()}

    def points(self, data: Data, owner: str) -> list[Point]:
        """Of the runs of the model on the page that `owner` may see. Raises StorageError."""
        return points_of(self.bench.runs_of(owner), data[self.fields["model"]])

    def owner(self, request: gr.Request) -> str:
        """Whose the page is."""
        return self.bench.visitors.owner(request.session_hash)

    def open(self, data: Data, request: gr.Request) -> Updates:
        """At a look at the page, also after a reload: the sweep that this visitor asked for last goes on."""
        sweep = self.bench.sweeps.newest(self.owner(request), IN_SWEEPS)
        return self.show({**data, self.plan: sweep and sweep.plan.id}, request)

    def show(self, data: Data, request: gr.Request) -> Updates:
        """Everything, as the store has it now."""
        try:
            points = self.points(data, self.owner(request))
        except vq.StorageError as error:
            return {self.status: markup.banner("error", NOT_SHOWN, sentence(error))}
        return {**self._runs(data, points), **self._sweep(data[self.plan])}

    def tick(self, data: Data, request: gr.Request) -> Updates:
        """As :meth:`show`, but for what a click may have changed while this was on its way."""
        found = self.show(data, request)
        return {component: found[component] for component in found.keys() - self.looked_at}

    def _runs(self, data: Data, points: Sequence[Point]) -> Updates:
        shown = comparable(points)
        own = {point.record.id: point for point in points}
        chosen = [own[each] for each in data[self.chosen] or () if each in own]  # as they were clicked on
        note = view.drawn(len(points) - len(shown)) if points else markup.note(view.NOTHING)
        return {
            self.plot: self.drawn(data, shown, data[self.guess]),
            self.note: note,
            self.table: gr.update(value=view.rows(points), visible=bool(points)),
            self.details: view.details(chosen),
            self.tools: gr.update(visible=bool(chosen)),
            self.chosen: [point.record.id for point in chosen],
        }

    def drawn(self, data: Data, points: Sequence[Point], guess: dict[str, Any] | None) -> Any:
        """The chart of comparable points, with what is predicted, where that is of the model on the page."""
        cost = data[self.cost] if is_name(data[self.cost], COSTS) else next(iter(COSTS))
        known = guess is not None and guess["model"] == data[self.fields["model"]] and cost in guess["costs"]
        said = Guess(guess["title"], guess["costs"][cost], guess["value"], guess["error"]) if known else None
        return chart(points, cost, said)

    def _sweep(self, plan_id: str | None) -> Updates:
        sweep = self.bench.sweeps.sweep(plan_id)
        running = sweep is not None and sweep.state == RUNNING
        return {
            self.status: IDLE if sweep is None else view.progress(sweep),
            self.plan: plan_id,
            self.timer: gr.Timer(active=running),
            self.stop: gr.update(interactive=running),
            self.go_on: gr.update(visible=sweep is not None and sweep.state == STOPPED),
        }

    def sweep_bits(self, data: Data, request: gr.Request) -> Updates:
        return self._start(data, request, "All bits", settings.by_bits)

    def sweep_methods(self, data: Data, request: gr.Request) -> Updates:
        return self._start(data, request, "All methods", settings.by_method)

    def _start(
        self, data: Data, request: gr.Request, title: str, runs: Callable[[Any], list[tuple[str, int]]]
    ) -> Updates:
        values = self.values(data)
        wrong = settings.problems(values)
        if wrong:
            return {self.status: check_settings(wrong, self.fields)}
        model = values["model"]
        plan, data_asked = self.bench.kinds[settings.kind_of(model)].plan, settings.data_of(values)
        wanted = [plan(model, recipe, bits, **data_asked) for recipe, bits in runs(values)]
        return self.start(data, request, f"{title} of {model}", wanted)

    def start(self, data: Data, request: gr.Request, title: str, wanted: Sequence[Any]) -> Updates:
        """Make these runs, behind everything else."""
        owner = self.owner(request)
        before = self.bench.sweeps.newest(owner, IN_SWEEPS)
        if before is not None and before.state == RUNNING:
            said = markup.banner("warning", "One sweep at a time.", "Stop the one that is under way first.")
            return {self.status: said}
        try:
            plan_id = self.bench.sweeps.start(Plan(title, tuple(wanted), owner))
        except vq.StorageError as error:
            return {self.status: markup.banner("error", f"{title} cannot begin.", sentence(error))}
        return self.show({**data, self.plan: plan_id}, request)

    def _own(self, data: Data, request: gr.Request) -> Sweep | None:
        sweep = self.bench.sweeps.sweep(data[self.plan])
        mine = sweep is not None and sweep.plan.owner == self.owner(request)
        return sweep if mine else None

    def end(self, data: Data, request: gr.Request) -> Updates:
        sweep = self._own(data, request)
        if sweep is not None:
            self.bench.sweeps.stop(sweep.plan.id)
        return self.show(data, request)

    def again(self, data: Data, request: gr.Request) -> Updates:
        sweep = self._own(data, request)
        if sweep is not None:
            self.bench.sweeps.go_on(sweep.plan.id)
        return self.show(data, request)

    def choose(self, data: Data, request: gr.Request, event: gr.SelectData) -> Updates:
        """A click on a row: the last two that were clicked on are looked at."""
        row = event.row_value if isinstance(event.row_value, list) else []
        try:
            own = {point.record.id: point for point in self.points(data, self.owner(request))}
        except vq.StorageError as error:
            return {self.status: markup.banner("error", NOT_SHOWN, sentence(error))}
        run_id = next((cell for cell in row if isinstance(cell, str) and cell in own), None)
        if run_id is None:
            return gr.skip()
        kept = [each for each in data[self.chosen] or () if each in own and each != run_id]
        chosen = [*kept, run_id][-MOST_CHOSEN:]
        return {
            self.chosen: chosen,
            self.details: view.details([own[each] for each in chosen]),
            self.tools: gr.update(visible=True),
            self.name: own[run_id].record.name,
        }

    def renamed(self, data: Data, request: gr.Request) -> Updates:
        """The run that was clicked on last gets another name."""
        return self._changed(
            data, request, lambda run, owner: self.bench.runs.rename(run, data[self.name], owner)
        )

    def deleted(self, data: Data, request: gr.Request) -> Updates:
        """The run that was clicked on last is gone."""
        return self._changed(data, request, self.bench.runs.delete)

    def _changed(self, data: Data, request: gr.Request, change: Callable[[str, str], bool]) -> Updates:
        try:
            if not data[self.chosen]:
                raise ValueError(NOTHING_CHOSEN)
            if not change(data[self.chosen][-1], self.owner(request)):
                raise ValueError(NOT_YOURS)
        except (ValueError, vq.StorageError) as error:
            return {self.status: markup.banner("error", "Nothing was changed.", sentence(error))}
        found = self.show(data, request)
        left = found.get(self.chosen)
        return {**found, self.name: self.bench.run(left[-1], self.owner(request)).name} if left else found

    def opened(self, data: Data, request: gr.Request) -> RunSettings:
        """Of the run that was clicked on last. Raises ValueError where there is none to open."""
        chosen = data[self.chosen]
        record = self.bench.run(chosen[-1], self.owner(request)) if chosen else None
        if record is None:
            raise ValueError(NOTHING_CHOSEN)
        if record.task not in SHOWN:
            raise ValueError(NO_MASKS)
        if not record.settings:
            raise ValueError(NO_FORM)
        settings = run_settings(record.settings)
        if (settings.table or settings.integer) and self.bench.outcome(settings) is None:
            raise ValueError(MIXED if settings.table else INTEGER)
        return settings

    def file(self, request: gr.Request) -> str:
        """The path of a table of all runs that this visitor may see. gr.Error where there can be none."""
        try:
            records = self.bench.runs_of(self.owner(request))
        except vq.StorageError as error:
            raise gr.Error(sentence(error), print_exception=False) from error
        return str(self.bench.text_file("runs.csv", as_csv(records)))


def _methods(model_id: Any) -> list[tuple[str, str]]:
    return [(recipe.title, name) for name, recipe in settings.methods_for(model_id).items()]


def _model_chosen(model_id: Any) -> tuple[Any, Any]:
    methods = gr.update(choices=_methods(model_id), value=first_recipe())
    return methods, gr.update(visible=settings.kind_of(model_id) == MASKS)
