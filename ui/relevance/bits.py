"""The relevance page's second step: the bits of every layer, by a policy and by hand."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components import Component

from vitq_core.experiment import MIN_BITS, OutOfReach, is_name
from vitq_core.experiment.measure import Progress

from ..explaining.scoring import Scores, Scoring
from ..parts import bits_table, layer_maps, markup
from ..parts.bits_table import ALL, BitsTable
from ..parts.forms import LIGHT, verdicts
from ..parts.layer_grid import LayerGrid
from ..running.runs import HEAVY, Data, Run, Updates, sentence
from ..workbench import Cancel, Workbench
from . import markup as relevance_html
from .bits_view import IDLE, LABELS, NOTES, BitsView
from .score import ScoreSection, read_text
from .settings import POLICIES, allocation_of, bits_problems, score_problems, scoring_of

STOPPED = markup.banner("stopped", "Cancelled.", "The table is as it was.")
NO_FILE = gr.update(value=None, interactive=False)
UNSCORED = "This rule needs scores: press Score layers first, or upload some."


class BitsSection(BitsView):
    """`table` is the only place where a visitor's bits are; every handler reads them from there."""

    def __init__(self, bench: Workbench, score: ScoreSection):
        super().__init__()
        self.bench, self.score = bench, score
        self.run = Run(
            self.start,
            self.stop,
            self.status,
            STOPPED,
            work=self.allocate,
            server=bench,
        )

    @property
    def inputs(self) -> set[Component]:
        return set(self.fields.values()) | self.score.inputs

    def connect(self) -> Any:
        """The events after which there is another table."""
        run = self.run.connect(self.inputs | {self.score.scores}, self.outputs, self._validate, self._name)
        policy = self.fields["policy"]
        policy.change(_policy_chosen, policy, [self.note, self.paper, self.budget], **LIGHT)
        given = {self.table, *self.inputs}
        edited = self.table.input(self.edit, given, self.outputs, trigger_mode="always_last", **LIGHT)
        many = self.set.click(
            self.set_many, given | {self.rows, self.columns, self.text}, self.outputs, **LIGHT
        )
        for name in ("base_weight", "base_act"):
            self.fields[name].change(self.rebase, given, self.outputs, trigger_mode="always_last", **LIGHT)
        read = self.upload.upload(
            self.read, self.inputs | {self.upload}, self.outputs, show_progress="hidden", **HEAVY
        )
        return [run, edited, many, read]

    def values(self, data: Data) -> dict[str, Any]:
        return {name: data[component] for name, component in (self.score.fields | self.fields).items()}

    def _validate(self, data: Data) -> list[dict]:
        values = self.values(data)
        wrong = bits_problems(values) | (score_problems(values) if values["policy"] == "budget" else {})
        return verdicts(self.score.fields | self.fields, wrong, data)

    def _name(self, data: Data) -> str:
        return POLICIES[self.values(data)["policy"]]

    def allocate(self, data: Data, progress: Progress, stopped: Cancel) -> Updates:
        values, scores = self.values(data), data[self.score.scores]
        options, model, relevance = allocation_of(values), values["model"], self.bench.relevance
        if values["policy"] == "uniform":
            table = relevance.uniform(model, *options["base_bits"])
        else:
            scoring = scoring_of(values) if values["policy"] == "budget" else Scoring(model)
            importance = _importance(scores, model)
            try:
                table = relevance.allocate(scoring, importance, options, progress, stopped)
            except OutOfReach as error:
                raise ValueError(_too_small(error)) from error
        said = markup.banner("done", f"{model} · {POLICIES[values['policy']]}")
        return {**self.show(values, table), self.status: said}

    def show(self, values: dict[str, Any], table: BitsTable) -> Updates:
        """A whole table and all that depends on it."""
        grid = self.bench.relevance.frame(values["model"]).grid
        return {
            **self.reckon(values, table, grid),
            self.empty: gr.update(visible=False),
            self.panel: gr.update(visible=True),
            self.table: gr.update(
                value=bits_table.to_cells(table, grid),
                headers=["", *grid.columns],
            ),
            self.rows: gr.update(choices=[ALL, *grid.rows], value=ALL),
            self.columns: gr.update(choices=[ALL, *grid.columns], value=ALL),
        }

    def reckon(self, values: dict[str, Any], table: BitsTable, grid: LayerGrid) -> Updates:
        """What a table costs, its maps and its file."""
        relevance, model = self.bench.relevance, values["model"]
        base = _base(values)
        cost = relevance.cost(model, table)
        path = self.bench.text_file(f"{model}-bits.json", bits_table.to_json(table))
        return {
            self.costs: relevance_html.costs(cost, relevance.uniform_cost(model, *base), base),
            self.weights: layer_maps.bits_figure(table, grid, 0),
            self.acts: layer_maps.bits_figure(table, grid, 1),
            self.download: gr.update(value=str(path), interactive=True),
        }

    def read_table(self, data: Data) -> BitsTable:
        """The table on the page. Raises ValueError that names a bad cell."""
        grid = self.bench.relevance.frame(self.values(data)["model"]).grid
        return bits_table.from_cells(data[self.table], grid)

    def edit(self, data: Data) -> Updates:
        """After a cell was edited by hand."""
        if not bits_table.is_filled(data[self.table]):
            return gr.skip()
        try:
            values, table = self.values(data), self.read_table(data)
            grid = self.bench.relevance.frame(values["model"]).grid
            said = markup.banner("done", f"{values['model']} · by hand")
            return {**self.reckon(values, table, grid), self.status: said}
        except Exception as error:
            said = markup.banner("error", "Check the table.", sentence(error))
            return {self.status: said, self.download: NO_FILE}

    def rebase(self, data: Data) -> Updates:
        """Other base bits: the numbers are compared with those."""
        updates = self.edit(data)
        right = self.costs in updates
        return {k: v for k, v in updates.items() if k is not self.status} if right else updates

    def set_many(self, data: Data) -> Updates:
        try:
            values, table = self.values(data), self.read_table(data)
            grid = self.bench.relevance.frame(values["model"]).grid
            chosen = (data[self.rows], data[self.columns], data[self.text] or "")
            shown = self.show(values, bits_table.set_many(table, grid, *chosen))
            kept = {name: part for name, part in shown.items() if name not in (self.rows, self.columns)}
            return {**kept, self.status: markup.banner("done", f"{values['model']} · by hand")}
        except Exception as error:
            return {self.status: markup.banner("error", "Nothing was set.", sentence(error))}

    def read(self, data: Data) -> Updates:
        """A table from a file, if it fits the model."""
        try:
            values, table = self.values(data), bits_table.from_json(read_text(data[self.upload]))
            self.bench.relevance.cost(values["model"], table)
            bits_table.check_weights(table, self.bench.relevance.frame(values["model"]).grid)
            said = markup.banner("done", f"{values['model']} · from the uploaded file")
            return {**self.show(values, table), self.status: said}
        except Exception as error:
            return {self.status: markup.banner("error", "This table cannot be used.", sentence(error))}

    def start_table(self, values: dict[str, Any]) -> Updates:
        """What a model opens with: the base bits everywhere."""
        table = self.bench.relevance.uniform(values["model"], *_base(values))
        said = markup.banner(
            "done", f"{values['model']} · {POLICIES['uniform']}", "Change single cells, or press Choose bits."
        )
        return {**self.show(values, table), self.status: said}

    def clear(self) -> Updates:
        return {
            self.status: IDLE,
            self.empty: gr.update(visible=True),
            self.panel: gr.update(visible=False),
            self.table: gr.update(value=[]),
            self.download: NO_FILE,
        }


def _base(values: dict[str, Any]) -> tuple[int, int]:
    wrong = bits_problems({**values, "policy": "uniform"})
    if wrong:
        raise ValueError(f"Base bits: {next(iter(wrong.values()))}")
    return int(values["base_weight"]), int(values["base_act"])


def _too_small(error: OutOfReach) -> str:
    return (
        f"{LABELS[error.limit]}: {error.asked:g} is too small. At {MIN_BITS} bits everywhere this model "
        f"comes to {error.nearest}. Enter {error.nearest} or more."
    )


def _importance(scores: Scores | None, model: str) -> Any:
    if scores is None or scores.model != model:
        raise ValueError(UNSCORED)
    return scores.importance


def _policy_chosen(policy: Any) -> Any:
    if not is_name(policy, NOTES):
        return gr.skip()
    shown = [gr.update(visible=policy == name) for name in ("paper", "budget")]
    return [markup.note(NOTES[policy]), *shown]
