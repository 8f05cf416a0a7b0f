"""Under the model: another one, of the Hugging Face hub or of a file of one's own."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components import Component

from ..model_store import ModelStore
from ..parts.forms import LIGHT
from ..parts.model_bar import ModelBar
from .brought import Brought
from .of_file import OfFile
from .of_hub import OfHub

PLACES = [("Hugging Face hub", "hub"), ("A file of mine", "file")]


class AnotherModel:
    """Fills the bar's box."""

    def __init__(self, bench: ModelStore, bar: ModelBar, prompted: Component | None = None):
        brought = Brought(bar, prompted)
        with bar.another:
            self.place = gr.Radio(PLACES, value="hub", label="Where it is", elem_id="another-place")
            with gr.Column(elem_classes="vq-plain") as self.hub_box:
                self.hub = OfHub(bench, brought)
            with gr.Column(elem_classes="vq-plain", visible=False) as self.file_box:
                self.file = OfFile(bench, brought)

    def connect(self, studio: gr.Blocks) -> None:
        self.place.change(_shown, self.place, [self.hub_box, self.file_box], **LIGHT)
        for part in (self.hub, self.file):
            part.connect(studio)


def _shown(place: Any) -> list[Any]:
    return [gr.update(visible=place == "hub"), gr.update(visible=place == "file")]
