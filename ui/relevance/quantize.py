"""The relevance page's third step: quantize with exactly the bits of the table."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components import Component

import vitq_core as vq

from ..learning.effort import effort_fields, follow_effort, iterations_field
from ..learning.live import Live
from ..learning.view import build_modules, show_modules
from ..parts import markup, steps
from ..parts.bits_table import is_filled
from ..parts.forms import LIGHT, Fields, lacking, recipe_choices, verdicts
from ..parts.settings import NO_EFFORT, RUN_FIELDS, RunSettings
from ..running.run_parts import (
    GONE,
    care,
    connect_download,
    ended,
    model_download,
    start_and_stop,
    status_line,
)
from ..running.runs import Data, Updates, check_settings
from ..running.server_run import ServerRun
from ..running.sweeps import Sweep
from ..workbench import ALONE, Workbench, planned
from .bits import BitsSection
from .settings import run_of, run_problems

IDLE = markup.banner("idle", "Nothing quantized with these bits yet.")
STOPPED = markup.banner("stopped", "Cancelled.", "Press the button to start again.")
EMPTY = steps.waiting("Size, accuracy and agreement of the quantized model appear here.")
NO_TABLE = "There is no table of bits yet: choose bits first."
METHOD = "lrp"
PREFIX = "mixed-"
CHOICES = ("method", *RUN_FIELDS)


class QuantizeSection:
    """`shown`: the settings of the result on the page, table included; `done`: of the run that just ended."""

    def __init__(self, bench: Workbench, bits: BitsSection):
        self.bench, self.bits = bench, bits
        self.shown, self.done = gr.State(None), gr.State(None)
        self.own: Fields = {}
        with gr.Row(elem_classes="vq-page"):
            with gr.Column(scale=4, min_width=320, elem_classes="vq-form"):
                self._build_form()
            with gr.Column(scale=9, min_width=320, elem_classes="vq-results"):
                self._build_cards()
        self.run = ServerRun(
            self.start, self.stop, self.status, stopped=STOPPED, failed={self.done: None}, live=self.live,
            kept=self.shown, server=bench, sweeps=bench.sweeps, wanted=self.wanted, show=self.show,
        )  # fmt: skip

    def _build_form(self) -> None:
        with gr.Group(elem_classes="vq-group"):
            self.own["method"] = gr.Dropdown(
                recipe_choices(), value=METHOD, label="Method for the rounding", elem_id="method"
            )
            self.note = gr.HTML(_sentence(METHOD, NO_EFFORT), elem_classes="vq-noted")
        with gr.Group(elem_classes="vq-group"):
            self.own["model"] = self.bits.score.fields["model"]
            self.effort_note = effort_fields(self.own, PREFIX)
            iterations_field(self.own, PREFIX)
        self.start, self.stop = start_and_stop(
            "Quantize with these bits", "quantize-bits", "quantize-bits-cancel"
        )

    def _build_cards(self) -> None:
        self.status, self.live = status_line(IDLE, "mixed-status"), Live("mixed-live")
        self.empty = gr.HTML(EMPTY, elem_id="mixed-empty")
        with gr.Column(visible=False, elem_id="mixed") as self.panel:
            self.cards, self.warning = gr.HTML(elem_id="mixed-cards"), gr.HTML(visible=False)
            self.download = model_download("mixed-download")
            self.modules = build_modules(PREFIX)

    @property
    def fields(self) -> Fields:
        return self.bits.score.fields | self.own

    @property
    def outputs(self) -> set[Component]:
        return {
            self.status, self.empty, self.panel, self.cards, self.warning, self.shown,
            self.done, self.bits.score.bar.shown, *self.modules.outputs,
        }  # fmt: skip

    def connect(self, tables: list[Any]) -> Any:
        """The event of a finished run. `tables`: the events after which there is another table."""
        given = set(self.fields.values()) | self.bits.inputs | {self.bits.table}
        run = self.run.connect(given, self.outputs, self._validate, self._name)
        run.success(self.settle, given | {self.done}, self.status, **LIGHT)
        connect_download(self.download, self.bench, self.shown)
        chosen = [self.own["method"], self.own["effort"]]
        gr.on([field.change for field in chosen], _sentence, chosen, self.note, **LIGHT)
        follow_effort(self.fields, self.effort_note)
        for changed in tables:
            changed.then(self.reflect, given | {self.shown}, self.status, **LIGHT)
        gr.on(  # one event for all fields: the last answer is then to the last change
            [self.fields[name].change for name in CHOICES],
            self.reflect, given | {self.shown}, self.status, trigger_mode="always_last", **LIGHT,
        )  # fmt: skip
        return run

    def values(self, data: Data) -> dict[str, Any]:
        return {name: data[component] for name, component in self.fields.items()}

    def _validate(self, data: Data) -> list[dict]:
        return verdicts(self.fields, run_problems(self.values(data)), data)

    def _name(self, data: Data) -> str:
        return self.values(data)["model"]

    def settings(self, data: Data) -> RunSettings:
        """Raises ValueError where the table on the page cannot be used."""
        if not is_filled(data[self.bits.table]):
            raise ValueError(NO_TABLE)
        return run_of(self.values(data), self.bits.read_table(data))

    def wanted(self, data: Data) -> dict[str, Any]:
        """What is asked of the server. Raises ValueError as `settings` does."""
        return planned(self.settings(data), kind=ALONE)

    def show(self, sweep: Sweep) -> Updates:
        """What was made."""
        outcome = self.bench.outcome(sweep.made[-1].settings)
        if outcome is None:
            raise ValueError(GONE)
        reached = outcome.settings
        return {
            self.status: ended(reached),
            self.empty: gr.update(visible=False),
            self.panel: gr.update(visible=True),
            self.cards: markup.cards(outcome),
            self.warning: care(outcome.warning),
            self.shown: reached,
            self.done: reached,
            self.bits.score.bar.shown: reached,
            **show_modules(self.modules, outcome),
        }

    def reflect(self, data: Data, request: gr.Request) -> Any:
        """After a change of bits, method or pictures: is the result still what the page says?"""
        if self.run.has_last_word(data, request):
            return gr.skip()
        wrong, shown = run_problems(self.values(data)), data[self.shown]
        if wrong:
            return check_settings(wrong, self.fields, shown)
        return IDLE if shown is None else self._compare(data, shown)

    def settle(self, data: Data) -> Any:
        """After a run: the table may have changed meanwhile."""
        return gr.skip() if data[self.done] is None else self._compare(data, data[self.done])

    def _compare(self, data: Data, shown: RunSettings) -> str:
        try:
            same = self.settings(data) == shown.complete
        except ValueError:
            same = False
        if same:
            return ended(shown)
        return markup.banner(
            "stale", "Bits or settings changed.", f"Below is still {shown.title}, the result of the last run."
        )

    def clear(self) -> Updates:
        return {
            self.status: IDLE,
            self.empty: gr.update(visible=True),
            self.panel: gr.update(visible=False),
            self.shown: None,
        }


def _sentence(method: Any, effort: Any) -> str:
    """What a method gives here: not its own bits, which its summary may speak of."""
    if method not in vq.RECIPES:
        return markup.note("")
    own = f"Uses the rounding of {vq.RECIPES[method].title} with exactly the bits above."
    return markup.note(f"{own} {lacking(method, effort)}".rstrip())
