"""The left column: which picture, and how the model is quantized."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

import vitq_core as vq

from ..parts import markup
from ..parts.forms import LIGHT, Count, Fields, bits_slider, verdicts
from ..parts.model_list import SEGMENTS, offered
from ..parts.raw_inputs import raw_image
from ..running.run_parts import start_and_stop
from ..running.runs import Data
from . import settings
from .pictures import gallery
from .settings import IN_WORDS, NO_METHOD, SamSettings

PREFIX = "segment-"
OPENS_WITH = SamSettings("", "")
COUNTS = (
    Count("calibration", "Scenes to measure ranges on", OPENS_WITH.calibration, f"{PREFIX}calibration"),
    Count("seed", "Random seed", OPENS_WITH.seed, f"{PREFIX}seed"),
)


class Form:
    """`fields` by the names of `settings.FIELDS`."""

    def __init__(self, has_model: Callable[[Any], bool]) -> None:
        """`has_model`: whether a model needs no download."""
        self.fields: Fields = {}
        self.has_model = has_model
        self.gallery, self.upload = _pictures()
        with gr.Group(elem_classes="vq-group"):
            self._model()
        with gr.Group(elem_classes="vq-group"):
            self._precision()
        self.start, self.stop = start_and_stop("Quantize", f"{PREFIX}quantize", f"{PREFIX}cancel")

    def _model(self) -> None:
        models, methods = settings.models(), settings.methods()
        self.fields["model"] = gr.Dropdown(
            models, value=models[0][1], label="Model", elem_id=f"{PREFIX}model"
        )
        self.model_note = gr.HTML(_model_note(models[0][1]), elem_classes="vq-noted")
        self.load = gr.Button(
            "Load this model", size="sm", visible=not self.has_model(models[0][1]), elem_id=f"{PREFIX}load"
        )
        self.fields["recipe"] = gr.Radio(
            methods, value=methods[0][1] if methods else None, label="Method", elem_id=f"{PREFIX}method"
        )
        self.method_note = gr.HTML(_method_note(self.fields["recipe"].value), elem_classes="vq-noted")

    def _precision(self) -> None:
        self.fields["weight_bits"] = bits_slider("Weight bits", f"{PREFIX}weight-bits")
        self.fields["act_bits"] = bits_slider("Activation bits", f"{PREFIX}act-bits")
        for name in ("weight_bits", "act_bits"):
            self.fields[name].value = getattr(OPENS_WITH, name)
        halves = [(words, name) for name, words in IN_WORDS.items()]
        self.fields["parts"] = gr.Radio(
            halves, value=OPENS_WITH.parts, label="What is quantized", elem_id=f"{PREFIX}parts"
        )
        with gr.Row(equal_height=True, elem_classes="vq-counts"):
            for count in COUNTS:
                self.fields[count.name] = count.build(90)

    @property
    def inputs(self) -> set[Component]:
        return set(self.fields.values())

    def values(self, data: Data) -> dict[str, Any]:
        return {name: data[component] for name, component in self.fields.items()}

    def validate(self, data: Mapping[Component, Any]) -> list[dict]:
        return verdicts(self.fields, settings.problems(self.values(data)), data)

    def title(self, data: Data) -> str:
        return settings.from_form(self.values(data)).title

    def connect(self) -> None:
        """Keep the sentences in step with the choices."""
        self.fields["model"].change(
            self._model_chosen, self.fields["model"], [self.model_note, self.load], **LIGHT
        )
        self.fields["recipe"].change(_method_note, self.fields["recipe"], self.method_note, **LIGHT)

    def _model_chosen(self, model_id: Any) -> tuple[str, Any]:
        return _model_note(model_id), gr.update(visible=not self.has_model(model_id))


def _pictures() -> tuple[gr.Gallery, gr.Image]:
    pictures = gr.Gallery(
        gallery(), columns=5, object_fit="cover", allow_preview=False, show_label=False, interactive=False,
        buttons=[], elem_id=f"{PREFIX}gallery", elem_classes="vq-gallery vq-strip",
    )  # fmt: skip
    upload = raw_image(
        show_label=False, sources=["upload", "clipboard"], height=120, elem_id=f"{PREFIX}upload", buttons=[],
        elem_classes="vq-picture", placeholder="Or drop a picture here",
    )  # fmt: skip
    return pictures, upload


def _model_note(model_id: Any) -> str:
    """Empty for what is no model's id."""
    info = offered(model_id, SEGMENTS)
    return markup.note("" if info is None else info.summary)


def _method_note(recipe: Any) -> str:
    """Empty for what is no method's name."""
    if not settings.methods():
        return markup.note(NO_METHOD)
    return markup.note(vq.RECIPES[recipe].summary if recipe in vq.RECIPES else "")
