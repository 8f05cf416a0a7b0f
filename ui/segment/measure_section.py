"""The last part of the page: how well both models find objects whose outlines are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from vitq_core.experiment.measure import Progress
from vitq_core.experiment.runs import SCENES, UPLOADS

from ..parts import markup, steps
from ..parts.forms import LIGHT, Fields, verdicts
from ..parts.jobs import Job
from ..running.run_parts import connect_file, start_and_stop, status_line
from ..running.runs import Data, Run, Updates
from . import judging, view
from .bench import SegmentBench
from .board import Board
from .judging import PLACES, Judging

IDLE = markup.banner("idle", "Not measured yet.", "Press Measure: both models look for the same objects.")
STOPPED = markup.banner("stopped", "Cancelled.", "Press Measure to start again.")
NO_QUANTIZED = "Press Quantize first: measuring compares the quantized model with full precision."
ABOUT = {
    SCENES: "Every object of scenes that no bundled model was trained on.",
    UPLOADS: "A .zip of photographs with a json file of outlines in it, as COCO has (“instances”).",
}
NOT_MEASURED = "There are no numbers yet: press Measure first."


class MeasureSection:
    def __init__(self, bench: SegmentBench, board: Board):
        self.bench, self.board = bench, board
        self.fields: Fields = {}
        with gr.Row(elem_classes="vq-page"):
            with gr.Column(scale=4, min_width=320, elem_classes="vq-form"):
                self._build_form()
            with gr.Column(scale=9, min_width=320, elem_classes="vq-results"):
                self.status = status_line(IDLE, "measure-status")
                self.table = gr.HTML(
                    steps.waiting("Both models' numbers appear here."), elem_id="measure-table"
                )
                self.download = gr.Button(
                    "Download numbers", size="sm", visible=False, elem_id="measure-download"
                )
        self.numbers = gr.State(None)
        self.run = Run(
            self.start,
            self.stop,
            self.status,
            STOPPED,
            work=self.measure,
            server=bench.bench,
        )

    def _build_form(self) -> None:
        with gr.Group(elem_classes="vq-group"):
            places = [(words, name) for name, words in PLACES.items()]
            self.fields["judges"] = gr.Radio(
                places, value=SCENES, label="Pictures with known outlines", elem_id="measure-judges"
            )
            self.note = gr.HTML(markup.note(ABOUT[SCENES]), elem_classes="vq-noted")
            self.fields["file"] = gr.File(
                label="Photographs and outlines", file_types=[".zip"], type="filepath", height=120,
                visible=False, elem_id="measure-file",
            )  # fmt: skip
            self.fields["count"] = gr.Number(
                Judging.count, label="Pictures, at most", elem_id="measure-count", min_width=90
            )
        self.start, self.stop = start_and_stop("Measure", "measure", "measure-cancel")

    @property
    def outputs(self) -> set[Component]:
        return {self.status, self.table, self.download, self.numbers}

    def connect(self) -> None:
        given = set(self.fields.values()) | self.board.asked
        self.run.connect(given, self.outputs, self.validate, self._name)
        self.fields["judges"].change(
            _place_chosen, self.fields["judges"], [self.note, self.fields["file"]], **LIGHT
        )
        connect_file(self.download, self.file, self.numbers)

    def values(self, data: Data) -> dict[str, Any]:
        return {name: data[component] for name, component in self.fields.items()}

    def validate(self, data: Data) -> list[dict]:
        return verdicts(self.fields, judging.problems(self.values(data)), data)

    def _name(self, data: Data) -> str:
        return judging.from_form(self.values(data)).title

    def measure(self, data: Data, progress: Progress, job: Job) -> Updates:
        asked = judging.from_form(self.values(data))
        _, shown = self.board.ready(data)
        if shown is None:
            raise ValueError(NO_QUANTIZED)
        record, tried = self.bench.measure(shown, asked, progress, job)
        return {
            self.status: markup.banner(
                "done", f"{shown.title}, on {asked.title}", view.counted_objects(tried)
            ),
            self.table: view.measured(tried),
            self.download: gr.update(visible=record is not None),
            self.numbers: record and record.id,
        }

    def file(self, run_id: str | None) -> str:
        """The stored run as json. gr.Error where there is none."""
        record = None if run_id is None else self.bench.bench.runs.get(run_id)
        if record is None:
            raise gr.Error(NOT_MEASURED, print_exception=False)
        places = [Path(place).name for place in record.asked.places]  # never where they lie
        content = {**record, "asked": {**record.asked.as_dict(), "places": places}}
        text = json.dumps({k: v for k, v in content.items() if k != "settings"}, indent=1, default=dict)
        return str(self.bench.bench.text_file(f"measured-{record.id}.json", text))


def _place_chosen(place: Any) -> tuple[str, Any]:
    return markup.note(ABOUT.get(place, "") if isinstance(place, str) else ""), gr.update(
        visible=place == UPLOADS
    )
