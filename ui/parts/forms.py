"""What the forms of several tabs share: methods, options, bits, counts, and the sentences beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import gradio as gr
from gradio.components import Component

import vitq_core as vq
from vitq_core.experiment import Option

from .method_options import AUTOMATIC, methods, methods_with, takes_numbers
from .model_list import choices
from .raw_inputs import RawSlider
from .settings import NO_EFFORT, RunSettings

LIGHT = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
ALONE = "Without fine-tuning you get only a part of this method. Choose Quick or more."
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
        own_number = {"allow_custom_value": takes_numbers(option)}
        return gr.Dropdown([AUTOMATIC, *option.choices], value=AUTOMATIC, **own_number, **common)
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
