"""The left column: how the model above the tabs is quantized."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

import vitq_core as vq
from vitq_core.experiment import Option

from ..learning.effort import effort_fields, follow_effort, iterations_field
from ..parts import markup, settings
from ..parts.forms import (
    LIGHT,
    Fields,
    bits_slider,
    first_recipe,
    option_field,
    recipe_choices,
    recipe_sentence,
    verdicts,
)
from ..parts.method_options import AUTOMATIC, applied, said_as, shown_options
from ..parts.model_bar import ModelBar, choosing
from ..parts.settings import RunSettings
from ..running.run_parts import start_and_stop
from . import aims

AIMED = ("recipe", "weight_bits", "act_bits")
BITS_HINT = "Fewer bits make the model smaller and its answers less exact."


@dataclass(frozen=True)
class Form:
    """The inputs by the names of `settings.FIELDS` and of the methods' options, the buttons, and the
    sentences that explain a choice.
    """

    fields: Mapping[str, Component]
    aim: gr.Radio
    recipe_note: gr.HTML
    quantize: gr.Button
    cancel: gr.Button

    @property
    def inputs(self) -> set[Component]:
        return {*self.fields.values(), self.aim}

    def values(self, data: Mapping[Component, Any]) -> dict[str, Any]:
        """The form's values by name, from what Gradio hands to a handler whose inputs are a set."""
        return {name: data[component] for name, component in self.fields.items()}

    def filled(self, settings: RunSettings) -> dict[Component, Any]:
        """What every field holds for these settings; a table of bits has no field."""
        recipe, known = vq.RECIPES[settings.recipe], shown_options()
        own = {name: said_as(known[name], value) for name, value in settings.options}
        values = {name: getattr(settings, name, None) for name in self.fields}
        values |= {name: _unset(option, recipe) for name, option in known.items()} | own
        values["iterations"] = "" if settings.iterations is None else str(settings.iterations)
        values["uploads"] = list(settings.uploads) or None
        return {
            component: gr.update(value=values[name], visible=name in recipe.applies)
            if name in known
            else choosing(values[name])
            if name == "model"
            else gr.update(value=values[name])
            for name, component in self.fields.items()
        } | {self.aim: aims.OWN}

    def validate(self, data: Mapping[Component, Any]) -> list[dict]:
        return verdicts(self.fields, settings.problems(self.values(data)), data)


def build_form(bar: ModelBar) -> Form:
    fields: Fields = dict(bar.fields)
    with gr.Group(elem_classes="vq-group"):
        aim = aims.radio()
        aim_note = gr.HTML(markup.note(aims.sentence(aim.value)), elem_classes="vq-noted")
    recipe_note = _method(fields)
    _precision(fields)
    with gr.Group(elem_classes="vq-group"):
        effort_note = effort_fields(fields)
    _options(fields)
    quantize, cancel = start_and_stop("Quantize", "quantize", "cancel")
    follow_effort(fields, effort_note)
    form = Form(fields, aim, recipe_note, quantize, cancel)
    _follow_aim(form, aim_note)
    _explain_method(form)
    return form


def _follow_aim(form: Form, note: gr.HTML) -> None:
    """An aim fills in fields; whoever changes one of them has settings of their own."""
    fields = [form.fields[name] for name in AIMED]
    form.aim.input(_aimed, form.aim, fields, **LIGHT)
    form.aim.change(lambda aim: markup.note(aims.sentence(aim)), form.aim, note, **LIGHT)
    for field in fields:
        field.input(lambda: aims.OWN, None, form.aim, **LIGHT)


def _aimed(aim: Any) -> list[Any]:
    values = aims.filled(aim)
    return [gr.update(value=values[name]) if name in values else gr.skip() for name in AIMED]


def _method(fields: Fields) -> gr.HTML:
    with gr.Group(elem_classes="vq-group"):
        fields["recipe"] = gr.Radio(recipe_choices(), value=first_recipe(), label="Method", elem_id="recipe")
        recipe_note = gr.HTML(markup.note(recipe_sentence(first_recipe())), elem_classes="vq-noted")
    return recipe_note


def _precision(fields: Fields) -> None:
    with gr.Group(elem_classes="vq-group"):
        fields["weight_bits"] = bits_slider("Weight bits", "weight-bits")
        fields["act_bits"] = bits_slider("Activation bits", "act-bits")
        gr.HTML(markup.note(BITS_HINT), elem_classes="vq-noted")


def _options(fields: Fields) -> None:
    """One for each that some quantizer or pass declares; those that the method lacks are hidden."""
    with gr.Accordion("Method's own options", open=False, elem_id="options"):
        for name, option in shown_options().items():
            fields[name] = option_field(option, first_recipe())
        iterations_field(fields)


def _explain_method(form: Form) -> None:
    """Keep the sentence, and which options can be used, in step with the method."""
    fields = form.fields
    recipe, effort = fields["recipe"], fields["effort"]
    recipe.change(_recipe_chosen, recipe, [fields[name] for name in shown_options()], **LIGHT)
    gr.on([recipe.change, effort.change], _recipe_note, [recipe, effort], form.recipe_note, **LIGHT)


def _recipe_chosen(recipe: Any) -> Any:
    """Fields that say nothing leave it to the method; a box to tick says what the method does."""
    if recipe not in vq.RECIPES:
        return gr.skip()
    usable, own = applied(recipe), vq.RECIPES[recipe].options
    return [
        gr.update(
            visible=name in usable, **({"value": getattr(own, name)} if option.kind == "switch" else {})
        )
        for name, option in shown_options().items()
    ]


def _unset(option: Option, recipe: vq.Recipe) -> Any:
    """What the field of an option holds where nothing was chosen."""
    if option.kind == "switch":
        return getattr(recipe.options, option.name)
    return AUTOMATIC if option.kind == "choice" else ""


def _recipe_note(recipe: str, effort: str) -> str:
    return markup.note(recipe_sentence(recipe, effort))
