"""A model of the Hugging Face hub by its name: its card, its download, and then it is every tab's model."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components import Component

from vitq_core.experiment.measure import Progress

from ..model_store import ModelStore
from ..parts import hub_models, markup
from ..parts.checks import refuse
from ..parts.jobs import Job
from ..parts.model_card import megabytes, model_card
from ..parts.model_list import ALL, SHOWN, called, offered, wrong_model
from ..running.run_parts import start_and_stop, status_line
from ..running.runs import Data, Updates, sentence
from .brought import IDLE, LOOKING, NO_PROMPTS, REFUSED, STOPPED, Brought, Fetch

HELP = (
    "Any ViT, DeiT or Swin of timm or transformers from huggingface.co. Type its name or paste the address "
    "of its page; @ and a branch, a tag or a commit behind it takes that revision. Nothing is downloaded "
    "before you say so."
)
NOTHING_TYPED = (
    "Type a name such as timm/vit_small_patch16_224.augreg_in1k, or paste the address of its page."
)


class OfHub:
    """`found`: the id of the card on the page."""

    def __init__(self, bench: ModelStore, brought: Brought):
        self.bench, self.brought, self.found = bench, brought, gr.State(None)
        self.name = gr.Textbox(
            label="Name or address on the Hugging Face hub", placeholder="user/name", max_lines=1,
            elem_id="another-name",
        )  # fmt: skip
        gr.HTML(markup.note(HELP))
        self.look = gr.Button("Look it up", size="sm", elem_id="another-look")
        self.card = gr.HTML(elem_id="another-card")
        with gr.Group(visible=False) as self.offer:
            self.start, self.stop = start_and_stop("Download", "another-download", "another-cancel")
        self.status = status_line(IDLE, "another-status")
        self.run = Fetch(self.start, self.stop, self.status, STOPPED, work=self.fetch)

    def connect(self, studio: gr.Blocks) -> None:
        outputs = {self.found, self.card, self.offer, self.start, self.status}
        gr.on(
            [self.look.click, self.name.submit], self.look_up, {self.name}, outputs,
            show_progress_on=self.card, **LOOKING,
        )  # fmt: skip
        outputs = self.brought.outputs | {self.offer}
        self.run.connect({self.found, self.brought.own}, outputs, _any, self._called)
        studio.unload(self.run.leave)

    def look_up(self, data: Data) -> Updates:
        """The card of what was typed, or why it cannot be used."""
        nothing = {self.found: None, self.offer: gr.update(visible=False), self.status: IDLE}
        typed = data[self.name].strip() if isinstance(data[self.name], str) else ""
        try:
            if not typed:
                raise ValueError(NOTHING_TYPED)
            if offered(typed, ALL) is not None and not typed.startswith(hub_models.PREFIX):
                raise ValueError(f"{typed} is in the list above; choose it there.")
            card = hub_models.look_up(typed)
            if card.task not in SHOWN:
                raise ValueError(NO_PROMPTS)
        except Exception as error:
            return {**nothing, self.card: markup.banner("error", REFUSED, sentence(error))}
        label = "Use this model" if card.downloaded else f"Download {megabytes(card)}"
        return {
            self.found: card.id,
            self.card: model_card(card),
            self.offer: gr.update(visible=True),
            self.start: gr.update(value=label, interactive=True),
            self.status: IDLE,
        }

    def fetch(self, data: Data, progress: Progress, job: Job) -> Updates:
        """The model of the card: here, in memory, and chosen on the page."""
        found = data[self.found]
        wrong = wrong_model(found)
        refuse({"model": wrong} if wrong else {})
        self.bench.fetch(found, progress, job)
        return {**self.brought.chosen(found, data, self.status), self.offer: gr.update(visible=False)}

    def _called(self, data: Data) -> str:
        return called(data[self.found]) if data[self.found] else "That"


def _any(data: dict[Component, Any]) -> list[dict]:
    """What is on the card was looked at before."""
    return [gr.validate(True, "") for _ in data]
