"""The left column: what to quantize and how."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

import vitq_core as vq

from . import html, settings
from .sources import draws_scenes
from .user_sources import default_folder, folders_allowed

BITS_HINT = (
    "More bits stop helping where a method uses logarithmic codes with a fixed base "
    "(attention maps, GELU outputs): those stay near 20 dB from 4 to 8 bits."
)
OWN_SCENES = "Rendered scenes with labels; the model was trained on none of them."
OWN_PHOTOGRAPHS = (
    "No pictures of this model's own kind are bundled: crops of photographs in installed packages stand in. "
    "They have no labels, and calibrating on another kind of pictures costs accuracy."
)
OTHERS_PICTURES = {
    "folder": "Folders named like the model's labels give accuracy; train and test parts are used as such.",
    "uploads": "Half of them calibrate, half are held out; a .zip may have folders named like the labels.",
}
ALPHA_LABELS = {"paper": "α", "alpha": "α: larger values stay float", "ratio": "Outliers to keep (%)"}
DEFAULT_ALPHA = {"paper": 5, "alpha": 5, "ratio": 0.5}


@dataclass(frozen=True)
class Form:
    """The inputs by the names of `settings.FIELDS`, the buttons, and the sentences that explain a choice."""

    fields: Mapping[str, Component]
    model_note: gr.HTML
    recipe_note: gr.HTML
    pictures_note: gr.HTML
    quantize: gr.Button
    cancel: gr.Button

    @property
    def inputs(self) -> set[Component]:
        return set(self.fields.values())

    def values(self, data: Mapping[Component, Any]) -> dict[str, Any]:
        """The form's values by name, from what Gradio hands to a handler whose inputs are a set."""
        return {name: data[component] for name, component in self.fields.items()}

    def validate(self, data: Mapping[Component, Any]) -> list[dict]:
        """A verdict for each input, in the order of `data`: what Gradio's `validator=` expects."""
        wrong = settings.problems(self.values(data))
        sentences = {self.fields[name]: sentence for name, sentence in wrong.items()}
        return [gr.validate(component not in sentences, sentences.get(component, "")) for component in data]


def build_form() -> Form:
    fields: dict[str, Component] = {}
    model_note, recipe_note = _method(fields)
    _precision(fields)
    pictures_note = _pictures(fields)
    with gr.Row(elem_classes="vq-actions"):
        quantize = gr.Button("Quantize", variant="primary", scale=3, elem_id="quantize")
        cancel = gr.Button("Cancel", scale=1, interactive=False, elem_id="cancel", min_width=90)
    form = Form(fields, model_note, recipe_note, pictures_note, quantize, cancel)
    _explain(form)
    return form


def model_choices() -> list[tuple[str, str]]:
    """(text, id) of every model, bundled ones first."""
    models = sorted(vq.list_models(), key=lambda info: not info.bundled)
    return [(info.title if info.bundled else f"{info.title} (download)", info.id) for info in models]


def _method(fields: dict[str, Component]) -> tuple[gr.HTML, gr.HTML]:
    models = model_choices()
    with gr.Group(elem_classes="vq-group"):
        fields["model"] = gr.Dropdown(models, value=models[0][1], label="Model", elem_id="model")
        model_note = gr.HTML(html.note(model_sentence(models[0][1])), elem_classes="vq-noted")
        recipes = [(recipe.title, name) for name, recipe in vq.RECIPES.items()]
        fields["recipe"] = gr.Radio(recipes, value=first_recipe(), label="Method", elem_id="recipe")
        recipe_note = gr.HTML(html.note(recipe_sentence(first_recipe())), elem_classes="vq-noted")
    return model_note, recipe_note


def first_recipe() -> str:
    return "adfq" if "adfq" in vq.RECIPES else next(iter(vq.RECIPES))


def _precision(fields: dict[str, Component]) -> None:
    with gr.Group(elem_classes="vq-group"):
        fields["weight_bits"] = gr.Slider(2, 8, 4, step=1, label="Weight bits", elem_id="weight-bits")
        fields["act_bits"] = gr.Slider(2, 8, 4, step=1, label="Activation bits", elem_id="act-bits")
        gr.HTML(html.note(BITS_HINT), elem_classes="vq-noted")
    with gr.Accordion("Method's own options", open=False, elem_id="options"):
        _options(fields)


def _options(fields: dict[str, Component]) -> None:
    modes = [("the paper's", "paper"), ("absolute α", "alpha"), ("share of values", "ratio")]
    with gr.Row(equal_height=True):
        fields["alpha_mode"] = gr.Radio(modes, value="paper", label="Outlier threshold (ADFQ)", min_width=200)
        fields["alpha"] = gr.Number(
            5, label=ALPHA_LABELS["paper"], interactive=False, min_width=110, elem_id="alpha"
        )
    fields["log_base"] = gr.Radio(
        ["the paper's", *settings.LOG_BASES], value="the paper's", label="Base of the log codes"
    )
    with gr.Row(equal_height=True):
        ks = ["auto", "1", "1.5", "2", "3"]
        fields["clip_k"] = gr.Dropdown(ks, value="auto", label="Clip at k deviations (CRL)", min_width=140)
        fields["collapse"] = gr.Checkbox(False, label="One scale per layer (CRL)", min_width=140)


def _pictures(fields: dict[str, Component]) -> gr.HTML:
    with gr.Group(elem_classes="vq-group"):
        with gr.Row(equal_height=True):
            fields["calibration"] = gr.Number(
                32, precision=0, label="Calibration", min_width=90, elem_id="calibration"
            )
            fields["held_out"] = gr.Number(
                256, precision=0, label="Held out", min_width=90, elem_id="held-out"
            )
            fields["seed"] = gr.Number(0, precision=0, label="Seed", min_width=70, elem_id="seed")
        fields["pictures"] = gr.Radio(picture_places(), value="own", label="Pictures", elem_id="pictures")
        sentence = pictures_sentence(fields["model"].value, "own")
        pictures_note = gr.HTML(html.note(sentence), elem_classes="vq-noted")
        fields["folder"] = gr.Textbox(
            default_folder(), label="Folder or .zip on this machine", visible=False, elem_id="folder",
            placeholder="…/<class>/<file>, or pictures in one flat folder",
        )  # fmt: skip
        fields["uploads"] = gr.File(
            label="Pictures, or one .zip of them", file_count="multiple", type="filepath", height=140,
            visible=False, elem_id="uploads",
        )  # fmt: skip
    return pictures_note


def picture_places() -> list[tuple[str, str]]:
    folder = [("a folder here", "folder")] if folders_allowed() else []
    return [("the studio's own", "own"), *folder, ("uploads", "uploads")]


def _explain(form: Form) -> None:
    """Keep the sentences, and which options can be used, in step with the choices."""
    light = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    fields = form.fields
    place, pictures_note = fields["pictures"], form.pictures_note
    fields["model"].change(_model_chosen, [fields["model"], place], [form.model_note, place], **light)
    gr.on(
        [fields["model"].change, place.change],
        lambda name, chosen: html.note(pictures_sentence(name, chosen)),
        [fields["model"], place],
        pictures_note,
        **light,
    )
    options = [fields[name] for name in ("alpha_mode", "alpha", "log_base", "clip_k", "collapse")]
    fields["recipe"].change(
        _recipe_chosen, [fields["recipe"], fields["alpha_mode"]], [form.recipe_note, *options], **light
    )
    fields["pictures"].change(
        lambda place: [gr.update(visible=place == name) for name in ("folder", "uploads")],
        fields["pictures"], [fields["folder"], fields["uploads"]], **light,
    )  # fmt: skip
    fields["alpha_mode"].change(_alpha_mode_chosen, fields["alpha_mode"], fields["alpha"], **light)


def _model_chosen(model_id: str, place: str) -> tuple[str, Any]:
    """A folder named by VITQ_PICTURES is meant for the models that the studio has no pictures for."""
    if not default_folder() or place == "uploads":
        return html.note(model_sentence(model_id)), gr.skip()
    return html.note(model_sentence(model_id)), "own" if draws_scenes(model_id) else "folder"


def pictures_sentence(model_id: str, place: str) -> str:
    if place == "own":
        return OWN_SCENES if draws_scenes(model_id) else OWN_PHOTOGRAPHS
    return OTHERS_PICTURES[place]


def _recipe_chosen(recipe: str, alpha_mode: str) -> list[Any]:
    applies = vq.RECIPES[recipe].applies
    outliers = "alpha" in applies
    others = [name in applies for name in ("log_base", "clip_k", "collapse")]
    usable = [outliers, outliers and alpha_mode != "paper", *others]
    return [html.note(recipe_sentence(recipe)), *(gr.update(interactive=on) for on in usable)]


def _alpha_mode_chosen(mode: str) -> Any:
    return gr.update(label=ALPHA_LABELS[mode], value=DEFAULT_ALPHA[mode], interactive=mode != "paper")


def model_sentence(model_id: str) -> str:
    return next((info.summary for info in vq.list_models() if info.id == model_id), "")


def recipe_sentence(name: str) -> str:
    return vq.RECIPES[name].summary
