"""The left column: what to quantize and how."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

import vitq_core as vq
from vitq_core.experiment import is_name

from ..learning.effort import effort_fields, follow_effort, iterations_field
from ..parts import markup, settings
from ..parts.forms import (
    LIGHT,
    Count,
    Fields,
    bits_slider,
    explain_pictures,
    first_recipe,
    model_field,
    pictures_fields,
    recipe_choices,
    recipe_sentence,
    verdicts,
)
from ..running.run_parts import start_and_stop

BITS_HINT = (
    "More bits stop helping where a method uses logarithmic codes with a fixed base "
    "(attention maps, GELU outputs): those stay near 20 dB from 4 to 8 bits."
)
ALPHA_LABELS = {"paper": "α", "alpha": "α: larger values stay float", "ratio": "Outliers to keep (%)"}
DEFAULT_ALPHA = {"paper": 5, "alpha": 5, "ratio": 0.5}
COUNTS = [
    Count("calibration", "Calibration", 32, "calibration"),
    Count("held_out", "Held out", 256, "held-out"),
    Count("seed", "Seed", 0, "seed"),
]
OPTIONS = (
    "alpha_mode",
    "alpha",
    "log_base",
    "clip_k",
    "collapse",
    "first_blocks",
    "reductions",
    "importance",
)


@dataclass(frozen=True)
class Form:
    """The inputs by the names of `settings.FIELDS`, the buttons, and the sentences that explain a choice."""

    fields: Mapping[str, Component]
    recipe_note: gr.HTML
    quantize: gr.Button
    cancel: gr.Button

    @property
    def inputs(self) -> set[Component]:
        return set(self.fields.values())

    def values(self, data: Mapping[Component, Any]) -> dict[str, Any]:
        """The form's values by name, from what Gradio hands to a handler whose inputs are a set."""
        return {name: data[component] for name, component in self.fields.items()}

    def validate(self, data: Mapping[Component, Any]) -> list[dict]:
        return verdicts(self.fields, settings.problems(self.values(data)), data)


def build_form() -> Form:
    fields: Fields = {}
    model_note, recipe_note = _method(fields)
    _precision(fields)
    with gr.Group(elem_classes="vq-group"):
        effort_note = effort_fields(fields)
    _options(fields)
    with gr.Group(elem_classes="vq-group"):
        pictures_note = pictures_fields(fields, COUNTS)
    quantize, cancel = start_and_stop("Quantize", "quantize", "cancel")
    explain_pictures(fields, model_note, pictures_note)
    follow_effort(fields, effort_note)
    form = Form(fields, recipe_note, quantize, cancel)
    _explain_method(form)
    return form


def _method(fields: Fields) -> tuple[gr.HTML, gr.HTML]:
    with gr.Group(elem_classes="vq-group"):
        model_note = model_field(fields, "model")
        fields["recipe"] = gr.Radio(recipe_choices(), value=first_recipe(), label="Method", elem_id="recipe")
        recipe_note = gr.HTML(markup.note(recipe_sentence(first_recipe())), elem_classes="vq-noted")
    return model_note, recipe_note


def _precision(fields: Fields) -> None:
    with gr.Group(elem_classes="vq-group"):
        fields["weight_bits"] = bits_slider("Weight bits", "weight-bits")
        fields["act_bits"] = bits_slider("Activation bits", "act-bits")
        gr.HTML(markup.note(BITS_HINT), elem_classes="vq-noted")


def _options(fields: Fields) -> None:
    with gr.Accordion("Method's own options", open=False, elem_id="options"):
        _outliers(fields)
        _clipping(fields)
        _allocation(fields)
        iterations_field(fields)


def _outliers(fields: Fields) -> None:
    names = (settings.THE_PAPERS, "absolute α", "share of values")
    modes = list(zip(names, settings.ALPHA_MODES, strict=True))
    with gr.Row(equal_height=True):
        fields["alpha_mode"] = gr.Radio(modes, value="paper", label="Outlier threshold (ADFQ)", min_width=200)
        fields["alpha"] = gr.Number(
            5, label=ALPHA_LABELS["paper"], interactive=False, min_width=110, elem_id="alpha"
        )


def _clipping(fields: Fields) -> None:
    fields["log_base"] = gr.Radio(
        [settings.THE_PAPERS, *settings.LOG_BASES], value=settings.THE_PAPERS, label="Base of the log codes"
    )
    with gr.Row(equal_height=True):
        fields["clip_k"] = gr.Dropdown(
            list(settings.CLIPS), value="auto", label="Clip at k deviations (CRL)", min_width=140
        )
        fields["collapse"] = gr.Checkbox(False, label="One scale per layer (CRL)", min_width=140)


def _allocation(fields: Fields) -> None:
    """Mixed bits (LRP): none of them does anything in the method that the form opens with."""
    with gr.Row(equal_height=True):
        fields["first_blocks"] = gr.Number(
            2, precision=0, label="Blocks with a bit more (LRP)", interactive=False, min_width=140,
            elem_id="first-blocks",
        )  # fmt: skip
        fields["reductions"] = gr.Checkbox(
            True, label="A bit less elsewhere (LRP)", interactive=False, min_width=140, elem_id="reductions"
        )
    fields["importance"] = gr.Dropdown(
        list(vq.SOURCES), value="relevance", label="Layers ranked by (LRP, VitQ)", interactive=False,
        elem_id="importance",
    )  # fmt: skip


def _explain_method(form: Form) -> None:
    """Keep the sentence, and which options can be used, in step with the method."""
    fields = form.fields
    recipe, mode, effort = fields["recipe"], fields["alpha_mode"], fields["effort"]
    options = [fields[name] for name in OPTIONS]
    recipe.change(_recipe_chosen, [recipe, mode], options, **LIGHT)
    gr.on([recipe.change, effort.change], _recipe_note, [recipe, effort], form.recipe_note, **LIGHT)
    mode.change(_alpha_mode_chosen, mode, fields["alpha"], **LIGHT)


def _recipe_chosen(recipe: Any, alpha_mode: Any) -> Any:
    if recipe not in vq.RECIPES:
        return gr.skip()
    applies = vq.RECIPES[recipe].applies
    usable = {name: name in applies for name in OPTIONS}
    usable["alpha_mode"] = usable["alpha"]
    usable["alpha"] &= alpha_mode != "paper"
    own = {"importance": vq.RECIPES[recipe].options.importance}  # what the recipe does unless told otherwise
    return [
        gr.update(interactive=on, **({"value": own[name]} if name in own else {}))
        for name, on in usable.items()
    ]


def _recipe_note(recipe: str, effort: str) -> str:
    return markup.note(recipe_sentence(recipe, effort))


def _alpha_mode_chosen(mode: Any) -> Any:
    if not is_name(mode, ALPHA_LABELS):
        return gr.skip()
    return gr.update(label=ALPHA_LABELS[mode], value=DEFAULT_ALPHA[mode], interactive=mode != "paper")
