"""What the forms of several tabs share: the model, the pictures, the bits, and the sentences beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import gradio as gr
from gradio.components import Component

import vitq_core as vq
from vitq_core.experiment import Option, is_name
from vitq_core.experiment.samples import draws_scenes

from . import markup
from .method_options import AUTOMATIC, methods, methods_with
from .model_list import choices, offered
from .raw_inputs import RawSlider
from .settings import NO_EFFORT, RunSettings
from .user_sources import default_folder, folders_allowed

LIGHT = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
OWN_SCENES = "Drawn scenes with known answers; the model was trained on none of them."
OWN_PHOTOGRAPHS = (
    "No pictures of this model's own kind are built in, so parts of other photographs stand in. Their right "
    "answers are not known, and measuring ranges on another kind of pictures costs accuracy."
)
ALONE = "Without fine-tuning you get only a part of this method. Choose Quick or more."
OTHERS_PICTURES = {
    "folder": "In subfolders named like the model's labels, right answers can be counted. Parts called "
    "train and test are used as such.",
    "uploads": "One half is for measuring ranges, the other for testing: of each at most as many as the "
    "boxes above say. A .zip may have subfolders named like the model's labels, or train and test parts.",
}

Fields = dict[str, Component]
T = TypeVar("T")


def verdicts(
    fields: Mapping[str, Component], wrong: Mapping[str, str], data: Mapping[Component, Any]
) -> list[dict]:
    """A verdict for each input, in the order of `data`: what Gradio's `validator=` expects."""
    sentences = {fields[name]: sentence for name, sentence in wrong.items()}
    return [gr.validate(component not in sentences, sentences.get(component, "")) for component in data]


def model_choices() -> list[tuple[str, str]]:
    """(text, id) of every model, bundled ones first."""
    return choices()


def recipe_choices() -> list[tuple[str, str]]:
    return [(recipe.title, name) for name, recipe in methods().items()]


def first_recipe() -> str:
    return "vitq" if "vitq" in vq.RECIPES else next(iter(vq.RECIPES))


def opening_settings() -> RunSettings:
    """What the first page opens with."""
    return RunSettings(model_choices()[0][1], first_recipe())


def model_sentence(model_id: str) -> str:
    info = offered(model_id)
    return "" if info is None else info.summary


def recipe_sentence(name: Any, effort: Any = NO_EFFORT) -> str:
    """What a method does, and what it lacks where it is published with learning and nothing is learned.

    Empty for what is no method's name: programs may send anything, and the form says what is wrong with it.
    """
    if name not in vq.RECIPES:
        return ""
    return f"{vq.RECIPES[name].summary} {lacking(name, effort)}".rstrip()


def lacking(name: str, effort: Any) -> str:
    """A sentence where a method is published with learning and nothing is learned."""
    published = vq.RECIPES[name].options.effort
    return ALONE if published != NO_EFFORT and effort == NO_EFFORT else ""


def model_field(fields: Fields, elem_id: str) -> gr.HTML:
    models = model_choices()
    fields["model"] = gr.Dropdown(models, value=models[0][1], label="Model", elem_id=elem_id)
    return gr.HTML(markup.note(model_sentence(models[0][1])), elem_classes="vq-noted")


def bits_slider(label: str, elem_id: str, low: int = 2, high: int = 8) -> gr.Slider:
    return RawSlider(low, high, 4, step=1, label=label, elem_id=elem_id)


def option_field(option: Option, recipe: str) -> Component:
    """What a quantizer or a pass declares, as a field that is there where `recipe` has that option.

    Text for numbers: Gradio's own box turns nothing into 0.
    """
    usable, own = option.name in vq.RECIPES[recipe].applies, vq.RECIPES[recipe].options
    common = {
        "label": option.label, "info": _beside(option), "visible": usable,
        "elem_id": option.name.replace("_", "-"),
    }  # fmt: skip
    if option.kind == "choice":
        return gr.Dropdown([AUTOMATIC, *option.choices], value=AUTOMATIC, **common)
    if option.kind == "switch":
        return gr.Checkbox(getattr(own, option.name), **common)
    return gr.Textbox("", placeholder=AUTOMATIC, max_lines=1, **common)


def _beside(option: Option) -> str | None:
    methods = methods_with(option.name)
    used = f"For {', '.join(methods)}." if methods else ""
    return f"{option.hint} {used}".strip() or None


def at(pictures: Sequence[T], index: Any) -> T:
    """The picture that a gallery's event names. ValueError for an index that no click sends."""
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(pictures):
        raise ValueError(f"There is no such picture in the gallery; pick one of its {len(pictures)}.")
    return pictures[index]


@dataclass(frozen=True)
class Count:
    """A box for a whole number."""

    name: str
    label: str
    value: int
    elem_id: str

    def build(self, min_width: int) -> gr.Number:
        """Not with Gradio's precision=0: it rounds fractions in silence; the form refuses them."""
        return gr.Number(self.value, label=self.label, min_width=min_width, elem_id=self.elem_id)


def pictures_fields(fields: Fields, counts: list[Count], prefix: str = "") -> gr.HTML:
    """The numbers of pictures and where they come from; `fields` has the model already."""
    with gr.Row(equal_height=True, elem_classes="vq-counts"):
        for count in counts:
            fields[count.name] = count.build(70 if count.name == "seed" else 90)
    fields["pictures"] = gr.Radio(
        picture_places(), value="own", label="Pictures", elem_id=f"{prefix}pictures"
    )
    note = gr.HTML(markup.note(pictures_sentence(fields["model"].value, "own")), elem_classes="vq-noted")
    fields["folder"] = gr.Textbox(
        default_folder(), label="Folder or .zip on this computer", visible=False, elem_id=f"{prefix}folder",
        placeholder="…/<class>/<file>, or pictures in one flat folder",
    )  # fmt: skip
    fields["uploads"] = gr.File(
        label="Pictures, or one .zip of them", file_count="multiple", type="filepath", height=140,
        visible=False, elem_id=f"{prefix}uploads",
    )  # fmt: skip
    return note


def picture_places() -> list[tuple[str, str]]:
    folder = [("Folder on this computer", "folder")] if folders_allowed() else []
    return [("Built-in", "own"), *folder, ("My files", "uploads")]


def explain_pictures(fields: Fields, model_note: gr.HTML, pictures_note: gr.HTML) -> None:
    """Keep the sentences, and which box is shown, in step with the choice of model and pictures."""
    model, place = fields["model"], fields["pictures"]
    model.change(_model_chosen, [model, place], [model_note, place], **LIGHT)
    gr.on([model.change, place.change], _pictures_note, [model, place], pictures_note, **LIGHT)
    boxes = ("folder", "uploads")
    place.change(_shown(boxes), place, [fields[name] for name in boxes], **LIGHT)


def _shown(names: tuple[str, ...]) -> Callable[[str], list[Any]]:
    return lambda chosen: [gr.update(visible=chosen == name) for name in names]


def _model_chosen(model_id: str, place: str) -> tuple[str, Any]:
    """A folder named by VITQ_PICTURES is meant for the models that the studio has no pictures for."""
    if not default_folder() or place == "uploads":
        return markup.note(model_sentence(model_id)), gr.skip()
    return markup.note(model_sentence(model_id)), "own" if draws_scenes(model_id) else "folder"


def _pictures_note(model_id: str, place: str) -> str:
    return markup.note(pictures_sentence(model_id, place))


def pictures_sentence(model_id: Any, place: Any) -> str:
    """Empty for what is no place."""
    if place == "own":
        return OWN_SCENES if draws_scenes(model_id) else OWN_PHOTOGRAPHS
    return OTHERS_PICTURES[place] if is_name(place, OTHERS_PICTURES) else ""
