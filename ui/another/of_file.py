"""A model of a file: what it is, a form for what it does not say, and then it is every tab's model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

import vitq_core as vq
from vitq_core.experiment import given_path
from vitq_core.experiment.measure import Progress

from ..model_store import ModelStore
from ..parts import markup
from ..parts.checks import refuse
from ..parts.forms import verdicts
from ..parts.jobs import Job
from ..parts.user_sources import folders_allowed
from ..running.run_parts import start_and_stop, status_line
from ..running.runs import Data, Updates, sentence
from . import file_words
from .brought import IDLE, LOOKING, REFUSED, STOPPED, Brought, Fetch
from .file_facts import file_facts

HELP = (
    "A .safetensors or .pth file of a ViT, DeiT, Swin or Segment Anything. Its tensors are read, and nothing "
    "in it is run. A form then shows what the file says of itself, and you fill in the rest."
)
NOTHING = "Upload a file first."
NOTHING_HERE = "Upload a file, or name one on this computer, first."


class OfFile:
    """`found`: the path of what the form is about; `words`: what is said of it, by the names of
    `vq.load_model`'s parameters."""

    def __init__(self, bench: ModelStore, brought: Brought):
        self.bench, self.brought, self.found = bench, brought, gr.State(None)
        self.file = gr.File(
            label="File of weights", file_count="single", type="filepath", height=120, elem_id="own-file"
        )
        self.path = gr.Textbox(
            label="Or a file or folder on this computer", visible=folders_allowed(), max_lines=1,
            placeholder="…/model.safetensors", elem_id="own-path",
        )  # fmt: skip
        gr.HTML(markup.note(HELP))
        self.facts = gr.HTML(elem_id="own-facts")
        with gr.Group(visible=False, elem_classes="vq-group") as self.said:
            self.words = file_words.build()
        with gr.Group(visible=False) as self.offer:
            self.start, self.stop = start_and_stop("Use this model", "own-use", "own-cancel")
        self.status = status_line(IDLE, "own-status")
        self.run = Fetch(self.start, self.stop, self.status, STOPPED, work=self.fetch)

    def connect(self, studio: gr.Blocks) -> None:
        outputs = {self.found, self.facts, self.said, self.offer, self.status, *self.words.values()}
        shown = {"show_progress_on": self.facts, **LOOKING}
        self.file.change(self.uploaded, {self.file}, outputs, **shown)
        for leaves in (self.path.submit, self.path.blur):
            leaves(self.named, {self.path, self.found}, outputs, **shown)
        inputs = {self.found, self.brought.own, *self.words.values()}
        run = self.run.connect(inputs, self.brought.outputs, self._verdicts, self._called)
        self.brought.then_opens(run)
        studio.unload(self.run.leave)

    def uploaded(self, data: Data) -> Updates:
        return self._described(data[self.file])

    def named(self, data: Data) -> Updates:
        """What is typed in the form stays where the form is about this path already, and where none is typed.
        Strangers name no paths of a server."""
        typed = data[self.path].strip() if isinstance(data[self.path], str) else ""
        if not folders_allowed() or typed in ("", data[self.found]):
            return gr.skip()
        return self._described(typed)

    def fetch(self, data: Data, progress: Progress, job: Job) -> Updates:
        """The model of the file with what is said of it: in memory, and chosen on the page."""
        if not data[self.found]:
            raise ValueError(NOTHING_HERE if folders_allowed() else NOTHING)
        said, wrong = file_words.read({name: data[field] for name, field in self.words.items()})
        refuse(wrong)
        path = given_path(data[self.found], "the file of weights")
        model = self.bench.bring(path, said, progress, job)
        return self.brought.chosen(model.info.id, data, self.status)

    def _described(self, typed: str | None) -> Updates:
        """The form for the file at a path, filled in as far as it says what it is."""
        hidden = {part: gr.update(visible=False) for part in (self.said, self.offer)}
        empty = {self.words[name]: value for name, value in file_words.filled(None).items()}
        nothing = {self.found: None, **hidden, **empty, self.status: IDLE}
        if not typed:
            return {**nothing, self.facts: ""}
        try:
            path = given_path(typed, "the file of weights")
            found = vq.describe_file(path)
        except Exception as error:
            return {**nothing, self.facts: markup.banner("error", REFUSED, sentence(error))}
        return {
            self.found: typed,
            self.facts: file_facts(path, found),
            self.said: gr.update(visible=found.family != file_words.PROMPTED),
            self.offer: gr.update(visible=True),
            self.status: IDLE,
            **{self.words[name]: value for name, value in file_words.filled(found).items()},
        }

    def _verdicts(self, data: dict[Component, Any]) -> list[dict]:
        _, wrong = file_words.read({name: data[field] for name, field in self.words.items()})
        return verdicts(self.words, wrong, data)

    def _called(self, data: Data) -> str:
        return Path(data[self.found]).name if data[self.found] else "That"
