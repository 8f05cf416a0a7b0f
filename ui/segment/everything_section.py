"""The last part of the page: everything in the picture, by both models."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components import Component

from vitq_core.experiment import is_number
from vitq_core.experiment.measure import Progress

from ..parts import markup, steps
from ..parts.checks import refuse, whole
from ..parts.forms import Fields, verdicts
from ..parts.jobs import Job
from ..parts.raw_inputs import RawSlider
from ..running.run_parts import start_and_stop, status_line
from ..running.runs import Data, Run, Updates
from . import everything_view as view
from .bench import SegmentBench
from .board import Board
from .everything import Sieve, find

IDLE = markup.banner(
    "idle", "Not looked for yet.", "Press Segment everything: a grid of clicks finds objects."
)
STOPPED = markup.banner("stopped", "Cancelled.", "Press Segment everything to start again.")
SIDE = 640
LEAST, MOST = 2, 64  # clicks along a side
MOST_PIXELS = 1_000_000
SHARES = {"expected": "Least expected IoU", "stable": "Least stability of the outline"}
NO_PICTURE = "Choose a picture first."


class EverythingSection:
    def __init__(self, bench: SegmentBench, board: Board):
        self.bench, self.board = bench, board
        self.fields: Fields = {}
        with gr.Row(elem_classes="vq-page"):
            with gr.Column(scale=4, min_width=320, elem_classes="vq-form"):
                self._build_form()
            with gr.Column(scale=9, min_width=320, elem_classes="vq-results"):
                self.status = status_line(IDLE, "everything-status")
                self.empty = gr.HTML(
                    steps.waiting("Both models' objects appear here."), elem_id="everything-empty"
                )
                self.cards = gr.HTML(elem_id="everything-cards")
                self.figures = gr.HTML(elem_id="everything-figures")
        self.run = Run(
            self.start,
            self.stop,
            self.status,
            STOPPED,
            work=self.look,
            server=bench.bench,
        )

    def _build_form(self) -> None:
        with gr.Group(elem_classes="vq-group"):
            with gr.Row(equal_height=True, elem_classes="vq-counts"):
                self._build_counts()
            for name, label in SHARES.items():
                self.fields[name] = RawSlider(
                    0, 0.99, getattr(Sieve, name), step=0.01, label=label, elem_id=f"everything-{name}"
                )
        self.start, self.stop = start_and_stop("Segment everything", "everything", "everything-cancel")

    def _build_counts(self) -> None:
        self.fields["points"] = gr.Number(
            Sieve.points, label="Clicks along a side", min_width=90, elem_id="everything-points"
        )
        self.fields["least"] = gr.Number(
            Sieve.least, label="Smallest piece, in pixels", min_width=90, elem_id="everything-least"
        )

    @property
    def outputs(self) -> set[Component]:
        return {self.status, self.empty, self.cards, self.figures}

    def connect(self) -> None:
        given = set(self.fields.values()) | self.board.asked
        self.run.connect(given, self.outputs, self.validate, self._name)

    def values(self, data: Data) -> dict[str, Any]:
        return {name: data[component] for name, component in self.fields.items()}

    def validate(self, data: Data) -> list[dict]:
        return verdicts(self.fields, problems(self.values(data)), data)

    def _name(self, data: Data) -> str:
        visit = data[self.board.visit]
        return visit.picture.name if visit else "Segment everything"

    def look(self, data: Data, progress: Progress, job: Job) -> Updates:
        values, visit = self.values(data), data[self.board.visit]
        refuse(problems(values))
        if visit is None:
            raise ValueError(NO_PICTURE)
        model, shown = self.board.ready(data)
        how = Sieve(int(values["points"]), int(values["least"]), values["expected"], values["stable"])
        with self.bench.bench.computing():
            found = find(self.bench, model, shown, visit.picture, how, progress, job)
        nothing = not found.full.count and not (found.quantized and found.quantized.count)
        return {
            self.status: markup.banner(
                "done", visit.picture.name, view.NOTHING if nothing else _asked(how.points)
            ),
            self.empty: gr.update(visible=False),
            self.cards: view.cards(found),
            self.figures: view.figures(self.bench.pictures.sized(visit.picture, SIDE), found),
        }


def _asked(points: int) -> str:
    return f"From {points}×{points} clicks. Numbers: found by both models; stripes: by one only."


def _share(value: Any) -> str:
    return "" if is_number(value) and 0 <= value < 1 else "A number from 0 to 0.99."


def problems(values: dict[str, Any]) -> dict[str, str]:
    found = {
        **{name: _share(values[name]) for name in SHARES},
        "points": whole(values["points"], LEAST, MOST),
        "least": whole(values["least"], 0, MOST_PIXELS),
    }
    return {name: said for name, said in found.items() if said}
