"""What one can afford, in megabytes or points lost: the bits of every layer, and a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from vitq_core.experiment import MAX_BITS, MIN_BITS, is_name, is_number
from vitq_core.experiment.measure import Progress
from vitq_core.experiment.runs import Prediction

from ..explaining.affording import METHOD, Affordable, Pins, prediction_for
from ..explaining.scoring import Scoring, pictured
from ..parts import bits_table, layer_maps, markup, steps
from ..parts.checks import refuse, whole
from ..parts.forms import LIGHT
from ..parts.jobs import Job
from ..parts.model_list import called, offered, wrong_model
from ..parts.raw_inputs import RawSlider
from ..parts.settings import RunSettings, data_problems
from ..running.run_parts import start_and_stop, status_line
from ..running.runs import Data, Run, Updates, sentence
from ..workbench import Workbench, planned
from . import settings, view
from .points import Point, comparable
from .runs_section import RunsSection

IDLE = markup.banner(
    "idle",
    "Not measured yet.",
    "Press Measure the layers: it takes seconds, and then the sliders answer at once.",
)
WAITING = steps.waiting("The bits of every layer, and what they will cost, appear here.")
STOPPED = markup.banner("stopped", "Cancelled.", "Press Measure the layers to start again.")
FROM_0 = "A number from 0 on."
NOT_MEASURED = "Press Measure the layers first."
HOW = (
    "Predicted from what rounding does to each layer, weighed by how much the answers depend on it, and from "
    "what runs of this model lost."
)
TOO_FEW = "too few runs of this model yet: press “Try 8, 6, 4, 3, 2 bits”"
BEYOND = "fewer bits than in any run of this model: make one to know"
MOST_POINTS = 30.0
OPENS_AT = 4  # bits on average


@dataclass(frozen=True)
class Known:
    """The runs of a model, and what they teach; None where they are too few."""

    points: list[Point]
    prediction: Prediction | None


class AffordSection:
    """`budget`: the bits on average that the last slider asked for; None before."""

    def __init__(self, bench: Workbench, runs: RunsSection):
        self.bench, self.runs = bench, runs
        self.budget = gr.State(None)
        with gr.Row(elem_classes="vq-page"):
            with gr.Column(scale=4, min_width=320, elem_classes="vq-form"):
                self._build_form()
            with gr.Column(scale=9, min_width=320, elem_classes="vq-results"):
                self._build_results()
        self.run = Run(self.start, self.stop, self.status, STOPPED, work=self.measure, server=bench)

    def _build_form(self) -> None:
        self.start, self.stop = start_and_stop("Measure the layers", "afford", "afford-cancel")
        with gr.Group(elem_classes="vq-group", visible=False) as self.sliders:
            self.size = RawSlider(0, 8, 2, step=0.01, label="I can spend, in MB", elem_id="afford-size")
            self.loss = RawSlider(
                0, MOST_POINTS, 1, step=0.1, label="It may lose at most, in points", elem_id="afford-loss"
            )
            self.pinned = gr.Dropdown(
                [], multiselect=True, label="Layers that keep their bits", elem_id="afford-pinned"
            )
            self.pin_bits = RawSlider(
                MIN_BITS, MAX_BITS, MAX_BITS, step=1, label="Bits of these layers", elem_id="afford-pin-bits"
            )
            self.check = gr.Button("Check it: make this model", variant="primary", elem_id="afford-check")

    def _build_results(self) -> None:
        self.status = status_line(IDLE, "afford-status")
        self.cards = gr.HTML(WAITING, elem_id="afford-cards")
        with gr.Column(visible=False) as self.maps:
            gr.HTML(markup.note("Bits of the weights, then of the activations, of every layer."))
            self.weights = gr.Plot(show_label=False, elem_id="afford-weights")
            self.acts = gr.Plot(show_label=False, elem_id="afford-acts")

    @property
    def asked(self) -> set[Component]:
        return {self.size, self.loss, self.pinned, self.pin_bits, self.budget, *self.runs.asked}

    @property
    def outputs(self) -> set[Component]:
        return {
            self.status, self.cards, self.maps, self.weights, self.acts, self.sliders, self.size, self.pinned,
            self.budget, self.runs.guess, self.runs.plot,
        }  # fmt: skip

    def connect(self, tab: gr.Tab) -> None:
        model = self.runs.fields["model"]
        self.run.connect(self.asked, self.outputs, self._validate, lambda data: str(data[model]))
        bar = self.runs.bar
        tab.select(self.open, self.asked, self.outputs, **LIGHT)
        gr.on(
            bar.changes, bar.while_open(tab, self.forget), self.asked | {bar.tab}, self.outputs,
            trigger_mode="always_last", **LIGHT,
        )  # fmt: skip
        for slider, handler in ((self.size, self.by_size), (self.loss, self.by_loss)):
            slider.input(handler, self.asked, self.outputs, trigger_mode="always_last", **LIGHT)
        gr.on(
            [self.pinned.input, self.pin_bits.input], self.by_size, self.asked, self.outputs,
            trigger_mode="always_last", **LIGHT,
        )  # fmt: skip
        self.check.click(self.made, self.asked, self.runs.outputs, **LIGHT)

    def _validate(self, data: Data) -> list[dict]:
        model = self.runs.fields["model"]
        said = self._cannot(data[model])
        return [gr.validate(component is not model or not said, said) for component in data]

    @staticmethod
    def _cannot(model_id: Any) -> str:
        """Why budgets cannot be given to this model; empty where they can."""
        return "" if not wrong_model(model_id) else "Budgets are for models that take a picture alone."

    def open(self, data: Data, request: gr.Request) -> Updates:
        """Another model may have been chosen since; what was asked of this one stays."""
        try:
            about = self._scoring(data).model if data[self.budget] else None
        except ValueError:  # nothing was measured of what is chosen now
            return self.forget(data, request)
        guess = data[self.runs.guess]
        same = about is not None and (guess is None or guess["model"] == about)
        return gr.skip() if same else self.forget(data, request)

    def forget(self, data: Data, request: gr.Request) -> Updates:
        """Another model or other pictures were chosen: what was measured of it before is there at once."""
        values = self.runs.values(data)
        if not data_problems(values) and self.bench.affording.known(pictured(values)) is not None:
            return self._opened(data, self.runs.owner(request))
        hidden = gr.update(visible=False)
        return {
            self.status: IDLE,
            self.sliders: hidden,
            self.maps: hidden,
            self.budget: None,
            self.runs.guess: None,
            self.cards: WAITING,
        }

    def measure(self, data: Data, progress: Progress, job: Job) -> Updates:
        values = self.runs.values(data)
        said = self._cannot(values["model"])
        refuse(({"model": said} if said else {}) or data_problems(values))
        self.bench.affording.measure(pictured(values), progress, job)
        return self._opened(data, job.owner)

    def _opened(self, data: Data, owner: str) -> Updates:
        """The sliders, from the smallest file to the largest that is possible."""
        scoring, affording = pictured(self.runs.values(data)), self.bench.affording
        least, middle, most = (
            affording.within(scoring, float(bits)) for bits in (MIN_BITS, OPENS_AT, MAX_BITS)
        )
        first = self._answer({**data, self.pinned: []}, middle, self._known(data, owner))
        return {
            **first,
            self.status: markup.banner("done", f"{called(scoring.model)}: the layers are measured.", HOW),
            self.sliders: gr.update(visible=True),
            self.size: gr.update(
                minimum=_down(least.cost.size_mb), maximum=_up(most.cost.size_mb),
                value=round(middle.cost.size_mb, 2),
            ),
            self.pinned: gr.update(choices=list(affording.known(scoring).prepared.layers), value=[]),
        }  # fmt: skip

    def by_size(self, data: Data, request: gr.Request) -> Updates:
        return self._asked_for(data, request, self._for_size)

    def by_loss(self, data: Data, request: gr.Request) -> Updates:
        found = self._asked_for(data, request, self._for_loss)
        if self.budget in found:  # what is asked next, with other pins, is about this size
            bits, pins = found[self.budget]
            cost = self.bench.affording.within(self._scoring(data), bits, tuple(map(tuple, pins))).cost
            found[self.size] = round(cost.size_mb + 1e-6, 6)  # the least that these bits fit in
        return found

    def _asked_for(self, data: Data, request: gr.Request, find: Any) -> Updates:
        try:
            known = self._known(data, self.runs.owner(request))
            return self._answer(data, find(data, known.prediction), known)
        except Exception as error:
            return {self.cards: markup.banner("error", "This cannot be.", sentence(error))}

    def _for_size(self, data: Data, predicted: Prediction | None) -> Affordable:
        size = _number(data[self.size])
        refuse({"size": FROM_0} if size is None else {})
        return self.bench.affording.for_size(self._scoring(data), size, self.pins(data))

    def _for_loss(self, data: Data, predicted: Prediction | None) -> Affordable:
        if predicted is None:
            raise ValueError(f"Nothing can be predicted: {TOO_FEW}.")
        points = _number(data[self.loss])
        refuse({"points": FROM_0} if points is None else {})
        return self.bench.affording.for_loss(self._scoring(data), points, predicted, self.pins(data))

    def _scoring(self, data: Data) -> Scoring:
        """The model and the pictures of which it was measured. ValueError where nothing was."""
        values = self.runs.values(data)
        refuse(data_problems(values))
        scoring = pictured(values)
        if self.bench.affording.known(scoring) is None:
            raise ValueError(NOT_MEASURED)
        return scoring

    def pins(self, data: Data) -> Pins:
        """Raises ValueError for what names no layer, or bits that are none."""
        layers = self.bench.affording.known(self._scoring(data)).prepared.layers
        bits, chosen = data[self.pin_bits], data[self.pinned] or []
        if not isinstance(chosen, list) or not all(is_name(name, layers) for name in chosen):
            raise ValueError("Pin layers of this model.")
        refuse({"pinned bits": wrong} if chosen and (wrong := whole(bits, MIN_BITS, MAX_BITS)) else {})
        return tuple(
            (name, None if layers[name].weight is None else int(bits), int(bits))
            for name in sorted(set(chosen))
        )

    def _known(self, data: Data, owner: str) -> Known:
        """From the runs on the chart; those that this page's own method made say what bits will cost."""
        points = comparable(self.runs.points(data, owner))
        forecast = self.bench.affording.known(self._scoring(data))
        return Known(points, prediction_for(forecast, learned_from(points)))

    def _answer(self, data: Data, found: Affordable, known: Known) -> Updates:
        model, predicted = self._scoring(data).model, known.prediction
        frame = self.bench.relevance.frame(model)
        uniform = self.bench.relevance.uniform_cost(model, 4, 4).gbops
        lost = None if predicted is None else predicted.points(found.harm)
        guess = None if lost is None else _guess(model, found, known, lost)
        return {
            self.cards: view.afforded(found, uniform, 4e-6 * offered(model).params, _said(lost, predicted)),
            self.maps: gr.update(visible=True),
            self.weights: layer_maps.bits_figure(found.table, frame.grid, 0),
            self.acts: layer_maps.bits_figure(found.table, frame.grid, 1),
            self.budget: [found.bits, [list(pin) for pin in self.pins(data)]],
            self.runs.guess: guess,
            self.runs.plot: self.runs.drawn(data, known.points, guess),
        }

    def made(self, data: Data, request: gr.Request) -> Updates:
        """The run that checks the prediction, behind everything else."""
        try:
            scoring, (bits, pins) = self._scoring(data), data[self.budget] or (None, None)
            if bits is None:
                raise ValueError("Move a slider first.")
            refuse(settings.problems(self.runs.values(data)))
            found = self.bench.affording.within(scoring, float(bits), tuple(map(tuple, pins)))
        except Exception as error:
            return {self.runs.status: markup.banner("error", "Nothing was begun.", sentence(error))}
        table = tuple((layer, *pair) for layer, pair in found.table.items())
        asked = RunSettings(scoring.model, METHOD, table=table, **settings.data_of(self.runs.values(data)))
        title = f"{called(scoring.model)} within {found.cost.size_mb:.2f} MB"
        return self.runs.start(data, request, title, [planned(asked, title)])


def _guess(model: str, found: Affordable, known: Known, lost: float) -> dict[str, Any]:
    """What the chart shows of a run that was not made, as a browser keeps it."""
    return {
        "model": model,
        "title": f"{found.cost.size_mb:.2f} MB",
        "costs": {"size": found.cost.size_mb, "compute": found.cost.gbops},
        "value": known.points[0].quality.full - lost / 100,
        "error": None if known.prediction.error is None else known.prediction.error / 100,
    }


def learned_from(points: Sequence[Point]) -> list[tuple[bits_table.BitsTable, float]]:
    """(bits of every layer, points lost) of the runs that this page's own method made."""
    own = [point for point in points if point.record.asked.recipe.name == METHOD]
    return [
        (
            {layer: (weight, act) for layer, (weight, act) in point.record.results["bits"].items()},
            point.quality.lost,
        )
        for point in own
    ]


def _said(lost: float | None, predicted: Prediction | None) -> tuple[str, str]:
    """The value and the words of the card."""
    if predicted is None:
        return "—", TOO_FEW
    if lost is None:
        return "—", BEYOND
    off = (
        "" if predicted.error is None else f"; such predictions were off by {predicted.error:.1f} on average"
    )
    return f"−{lost:.1f} points", f"learned from {len(predicted.harms)} runs{off}"


def _number(value: Any) -> float | None:
    """A finite number from 0 on; None for anything else."""
    return float(value) if is_number(value) and 0 <= value < float("inf") else None


def _down(megabytes: float) -> float:
    return int(megabytes * 100) / 100


def _up(megabytes: float) -> float:
    return int(megabytes * 100 + 1) / 100
