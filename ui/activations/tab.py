"""The page of activations. Builds it and connects its events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component

import vitq_core as vq
from vitq_core.experiment import MAX_BITS, MIN_BITS, is_name, is_number, options_of
from vitq_core.experiment.measure import Progress
from vitq_core.experiment.tensors import Attempt

from ..explaining.scoring import pictured
from ..parts import markup, method_options, steps
from ..parts.checks import one_of, refuse, whole
from ..parts.forms import LIGHT, Fields, bits_slider, first_recipe, recipe_choices, verdicts
from ..parts.frame import Frame
from ..parts.jobs import Job
from ..parts.model_bar import ModelBar
from ..parts.raw_inputs import RawSlider
from ..parts.settings import RunSettings, data_of, data_problems
from ..running.opening import Opens, connect_opening
from ..running.run_parts import start_and_stop, status_line
from ..running.runs import Data, Run, Updates, sentence
from ..workbench import Workbench
from . import figures, view

INTRO = ("What do the layers see?", "The values that reach each layer, and what rounding makes of them.")
IDLE = markup.banner(
    "idle", "Layers are in the model's order.", "Press Find what hurts: each is quantized alone, worst first."
)
STOPPED = markup.banner("stopped", "Cancelled.", "Press Find what hurts to start again.")
EMPTY = steps.waiting("Choose a layer and tensor.")
USE = "Takes the method, its bits and what you moved here to the page Quantize."
APART = {"alpha": "alpha_ratio", "alpha_ratio": "alpha"}  # one rules the other out
BEHIND = {
    "concurrency_id": "look",
    "concurrency_limit": 1,
    "show_progress": "hidden",
    "api_visibility": "private",
}
SLIDERS = {
    "alpha": (0.0, 20.0, 0.05, "Values above α stay exact"),
    "alpha_ratio": (0.0, 0.05, 0.0005, "Share of values to keep exact"),
    "log_base": (1.05, 4.0, 0.01, "Base of the log codes"),
    "clip_k": (0.0, 3.0, 0.05, "Clip the channels' scales at k deviations"),
}


def build(bench: Workbench, tab: gr.Tab, frame: Frame) -> Page:
    """Adds the page to the studio, which is being built."""
    page = Page(bench, frame.bar)
    page.connect(tab)
    frame.studio.unload(page.run.leave)
    return page


class Page:
    """`moved`: the options that a visitor has moved, {name: value} or None."""

    def __init__(self, bench: Workbench, bar: ModelBar):
        self.bench, self.bar = bench, bar
        self.fields: Fields = dict(bar.fields)
        self.sliders: dict[str, gr.Slider] = {}
        self.moved = gr.State(None)
        gr.HTML(steps.step(1, *INTRO), elem_classes="vq-first")
        with gr.Row(elem_classes="vq-page"):
            with gr.Column(scale=4, min_width=320, elem_classes="vq-form"):
                self._build_form()
            with gr.Column(scale=9, min_width=320, elem_classes="vq-results"):
                self._build_results()
        self.run = Run(self.start, self.stop, self.status, STOPPED, work=self.measure, server=bench)

    def _build_form(self) -> None:
        with gr.Group(elem_classes="vq-group"):
            self.fields["method"] = gr.Dropdown(
                recipe_choices(), value=first_recipe(), label="Method", elem_id="look-method"
            )
            self.fields["bits"] = bits_slider("Bits", "look-bits")
        self.start, self.stop = start_and_stop("Find what hurts", "look-measure", "look-cancel")
        with gr.Group(elem_classes="vq-group"):
            self.fields["site"] = gr.Dropdown([], label="Layer and tensor", elem_id="look-site")
            for name, (low, high, step, label) in SLIDERS.items():
                self.sliders[name] = RawSlider(
                    low, high, low, step=step, label=label, visible=False, elem_id=f"look-{name}"
                )
        self.use = gr.Button("Use this", elem_id="look-use")
        gr.HTML(markup.note(USE))

    def _build_results(self) -> None:
        self.status = status_line(IDLE, "look-status")
        self.where, self.cards = gr.HTML(elem_id="look-where"), gr.HTML(EMPTY, elem_id="look-cards")
        self.advice = gr.HTML(elem_id="look-advice")
        self.histogram = gr.Plot(show_label=False, elem_id="look-histogram")
        with gr.Row(elem_classes="vq-compare"):
            self.magnitudes = gr.Plot(show_label=False, elem_id="look-magnitudes")
            self.ranges = gr.Plot(show_label=False, elem_id="look-ranges")
        self.everywhere = gr.Plot(show_label=False, elem_id="look-everywhere")

    @property
    def asked(self) -> set[Component]:
        return {*self.fields.values(), *self.sliders.values(), self.moved}

    @property
    def drawn(self) -> set[Component]:
        return {
            self.where, self.cards, self.advice, self.histogram, self.magnitudes, self.ranges, self.moved,
            *self.sliders.values(),
        }  # fmt: skip

    def connect(self, tab: gr.Tab) -> None:
        fields = self.fields
        opened = self.drawn | {fields["site"], self.status}
        measured = self.run.connect(
            self.asked, opened, self._validate, lambda data: str(data[fields["model"]])
        )
        measured.then(self.all_layers, self.asked, self.everywhere, **BEHIND)  # it shows another tensor
        for event in (tab.select, fields["method"].change, fields["bits"].change):
            event(self.open, self.asked, opened, trigger_mode="always_last", **LIGHT).then(
                self.all_layers, self.asked, self.everywhere, **BEHIND
            )
        self._follow_model(tab, opened)
        chosen = fields["site"].input(
            self.choose, self.asked, self.drawn, trigger_mode="always_last", **LIGHT
        )
        chosen.then(self.all_layers, self.asked, self.everywhere, **BEHIND)
        for name, slider in self.sliders.items():
            moved = slider.input(
                partial(self.move, name), self.asked, self.drawn, trigger_mode="always_last", **LIGHT
            )
            moved.then(self.all_layers, self.asked, self.everywhere, trigger_mode="always_last", **BEHIND)

    def _follow_model(self, tab: gr.Tab, opened: set[Component]) -> None:
        """Another model or other pictures were chosen; while another tab is open nothing is looked at."""
        given, bar = self.asked | {self.bar.tab}, self.bar
        changed = bar.while_open(tab, lambda data, request: self.open(data))
        event = gr.on(bar.changes, changed, given, opened, trigger_mode="always_last", **LIGHT)
        behind = bar.while_open(tab, lambda data, request: self.all_layers(data))
        event.then(behind, given, self.everywhere, **BEHIND)

    def connect_opening(self, page: Opens, name: str) -> None:
        """What was moved here goes into the form of `page`, whose tab is called `name`."""

        def found(data: Data, request: gr.Request) -> RunSettings:
            return self.settings(data)

        connect_opening(self.use, found, self.asked, self.status, page, name)

    def values(self, data: Data) -> dict[str, Any]:
        return {name: data[component] for name, component in self.fields.items()}

    def _validate(self, data: Data) -> list[dict]:
        return verdicts(self.fields, problems(self.values(data)), data)

    def measure(self, data: Data, progress: Progress, job: Job) -> Updates:
        """Each layer alone, and the list of layers again, worst first."""
        values = self.values(data)
        refuse(problems(values))
        self.bench.looking.errors(pictured(values), values["method"], int(values["bits"]), progress, job)
        said = markup.banner("done", f"{values['model']}: worst first.", "Each layer was quantized alone.")
        return {**self._opened(data, worst=True), self.status: said}

    def open(self, data: Data) -> Updates:
        """The tensors of the model on the page."""
        try:
            return self._opened(data, worst=False)
        except Exception as error:
            return {self.status: markup.banner("error", "This cannot be shown.", sentence(error))}

    def _opened(self, data: Data, worst: bool) -> Updates:
        values = self.values(data)
        refuse(problems(values))
        tensors, shares = self.bench.looking.tensors(pictured(values)), self.shares(values)
        sites = list(tensors.sites)
        if shares:
            sites.sort(key=lambda site: -shares[tensors.sites[site].module])
        chosen = values["site"] if values["site"] in sites and not worst else sites[0]
        listed = [
            (view.choice(site, tensors.sites[site].role, shares and shares[tensors.sites[site].module]), site)
            for site in sites
        ]
        drawn = self.choose({**data, self.fields["site"]: chosen})
        known = markup.banner("done", f"{values['model']}: worst first.") if shares else IDLE
        return {**drawn, self.fields["site"]: gr.update(choices=listed, value=chosen), self.status: known}

    def shares(self, values: Mapping[str, Any]) -> dict[str, float] | None:
        """{layer: its share of what all layers alone do}; None before that was measured."""
        errors = self.bench.looking.known_errors(pictured(values), values["method"], int(values["bits"]))
        total = sum(errors.values()) if errors else 0.0
        return {name: error / total for name, error in errors.items()} if total else None

    def choose(self, data: Data) -> Updates:
        """Another tensor: the sliders stand where its own quantizer does."""
        return self._drawn(data, {}, self._placed)

    def move(self, name: str, data: Data) -> Updates:
        """A slider was dragged: the tensor is quantized with that."""
        moved = {key: value for key, value in (data[self.moved] or {}).items() if key != APART.get(name)}
        return self._drawn(data, {**moved, name: data[self.sliders[name]]}, self._rescaled)

    def _drawn(self, data: Data, moved: dict[str, Any], also: Callable[[Attempt, str], Updates]) -> Updates:
        values = self.values(data)
        try:
            refuse(problems(values))
            site = self._site(values)
            tried = self._tried(values, moved)
        except Exception as error:
            return {self.cards: markup.banner("error", "This cannot be.", sentence(error))}
        shares = self.shares(values)
        share = shares and shares[site.module]
        return {
            self.where: view.where(str(site), site.role),
            self.cards: view.cards(tried, share),
            self.advice: markup.note(view.advice(site.role, tried, share, offered(tried))),
            self.histogram: figures.histogram(tried.values, tried.simulated, tried.levels, site.role),
            self.moved: moved or None,
            **also(tried, site.role),
        }

    def _values_drawn(self, tried: Attempt, role: str) -> Updates:
        """The tensor itself, whatever rounds it."""
        magnitudes = figures.magnitudes(tried.values, role)
        return {
            self.magnitudes: gr.update(value=magnitudes, visible=magnitudes is not None),
            self.ranges: figures.ranges(tried.values, role),
        }

    def _rescaled(self, tried: Attempt, role: str) -> Updates:
        """A slider changes the tensor itself only where it moves its scales into weights."""
        return {} if tried.clip_k is None else self._values_drawn(tried, role)

    def _site(self, values: Mapping[str, Any]) -> Any:
        """The tensor on the page. Raises ValueError for what is none of the model."""
        sites = self.bench.looking.tensors(pictured(values)).sites
        if not is_name(values["site"], sites):
            raise ValueError("Choose a layer of the list.")
        return sites[values["site"]]

    def _tried(self, values: Mapping[str, Any], moved: Mapping[str, Any]) -> Attempt:
        checked = {name: float(value) for name, value in moved.items() if is_number(value)}
        if len(checked) < len(moved):
            raise ValueError("A slider gives a number.")
        looking = self.bench.looking
        return looking.attempt(
            pictured(values), values["site"], values["method"], int(values["bits"]), checked
        )

    def _placed(self, tried: Attempt, role: str) -> Updates:
        """Each slider shown where the quantizer has that option, at the value it has."""
        quantizer, has = tried.quantizer, offered(tried)
        now = {
            "alpha": getattr(quantizer, "alpha", None), "alpha_ratio": tried.kept,
            "log_base": getattr(quantizer, "base", None), "clip_k": tried.clip_k,
        }  # fmt: skip
        placed = {
            slider: gr.update(
                visible=name in has, **({"value": round(float(now[name]), 4)} if name in has else {})
            )
            for name, slider in self.sliders.items()
        }
        return {**self._values_drawn(tried, role), **placed}

    def all_layers(self, data: Data) -> Any:
        """Behind the redraw: the same options in every layer that reads such a tensor."""
        values, moved = self.values(data), data[self.moved] or {}
        try:
            refuse(problems(values))
            role, sites = self._site(values).role, self.bench.looking.tensors(pictured(values)).sites
            alike = [name for name, site in sites.items() if site.role == role]
            tried = {name: self._tried({**values, "site": name}, moved) for name in alike}
        except (ValueError, vq.VitqError):  # said where the tensor itself is drawn
            return gr.skip()
        title, shares = view.shares(tried)
        drawn = figures.by_layer(shares, title, values["site"])
        return gr.update(value=drawn, visible=len(shares) > 1)  # one bar compares nothing

    def settings(self, data: Data) -> RunSettings:
        """Of a run with what was moved. Raises ValueError for what cannot be."""
        values, moved = self.values(data), data[self.moved] or {}
        refuse(problems(values))
        applies = method_options.applied(values["method"])
        options = {name: float(value) for name, value in moved.items() if name in applies}
        bits = int(values["bits"])
        vq.recipe(values["method"], bits, bits, **options)
        own, data = tuple(sorted(options.items())), data_of(values)
        return RunSettings(values["model"], values["method"], bits, bits, own, **data)


def offered(tried: Attempt) -> set[str]:
    """The options with a slider that say how this tensor is quantized."""
    clips = set() if tried.clip_k is None else {"clip_k"}
    return options_of(type(tried.quantizer)).keys() & SLIDERS.keys() | clips


def problems(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the page's form, {field: a sentence}."""
    found = {
        "method": one_of(values.get("method"), method_options.methods()),
        "bits": whole(values.get("bits"), MIN_BITS, MAX_BITS),
    }
    return {field: said for field, said in found.items() if said} | data_problems(values)
