"""Above the tabs: the model and the pictures that all of them are about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from vitq_core.experiment import is_name
from vitq_core.experiment.samples import draws_scenes

from . import markup
from .forms import LIGHT, Count, Fields
from .model_list import ALL, ANOTHER, SEGMENTS, SHOWN, choices, choices_with, offered, task_of
from .opened_tab import open_tab
from .user_sources import default_folder, folders_allowed

COUNTS = (
    Count("calibration", "Pictures to measure ranges on", 32, "calibration"),
    Count("held_out", "Test pictures", 256, "held-out"),
    Count("seed", "Random seed", 0, "seed"),
)
OWN_SCENES = "Drawn scenes with known answers; the model was trained on none of them."
OWN_PHOTOGRAPHS = (
    "No pictures of this model's own kind are built in, so parts of other photographs stand in. Their right "
    "answers are not known, and measuring ranges on another kind of pictures costs accuracy."
)
OTHERS_PICTURES = {
    "folder": "In subfolders named like the model's labels, right answers can be counted. Parts called "
    "train and test are used as such. hf://datasets/user/name takes 1,024 pictures of each part of a data "
    "set of the Hugging Face hub.",
    "uploads": "One half is for measuring ranges, the other for testing: of each at most as many as the "
    "boxes beside say. A .zip may have subfolders named like the model's labels, or train and test parts.",
    "generated": "The model itself makes pictures to measure ranges on, out of noise, which takes minutes: "
    "for models whose own pictures nobody may have. Tests use the built-in ones.",
}
SCENES_ALONE = "Segment Anything is measured on drawn scenes with known outlines, whatever is chosen here."
BOXES = ("folder", "uploads")


class ModelBar:
    """`fields` by the names of `settings.FIELDS`; `tab`: the name of the open tab; `last`: the model that was
    chosen last of those that most tabs are about; `shown`: the settings of the result that tabs are views of,
    `shown_masks`: of the quantized Segment Anything that answers.
    """

    def __init__(self, first_tab: str = "") -> None:
        self.fields: Fields = {}
        models = choices(ALL)
        self.tab, self.last, self.shown = gr.State(first_tab), gr.State(models[0][1]), gr.State(None)
        self.shown_masks = gr.State(None)
        self.opens = gr.Textbox(label="Tab to open", visible=False)
        with gr.Row(elem_classes="vq-bar", elem_id="model-bar"):
            with gr.Column(scale=4, min_width=280):
                with gr.Group(elem_classes="vq-group"):
                    self._model(models)
                # Filled by who knows how models are brought.
                self.another = gr.Accordion(ANOTHER, open=False, elem_id="another")
            with gr.Column(scale=8, min_width=280):
                self._data()
        self._explain()

    @property
    def inputs(self) -> set[Component]:
        return set(self.fields.values())

    @property
    def changes(self) -> list[Any]:
        """The events after which there is another model, or there are other pictures; not while a folder's
        name is typed."""
        fields = self.fields
        ends = [fields["folder"].submit, fields["folder"].blur]
        return [*(fields[name].change for name in ("model", "pictures", "uploads", "seed")), *ends]

    def while_open(self, tab: gr.Tab, handler: Callable[..., Any]) -> Callable[..., Any]:
        """`handler(data, request)`, which does nothing while another tab is open: that one catches up when it
        opens. Its inputs are a set with `tab` among them.
        """

        def handled(data: Mapping[Component, Any], request: gr.Request) -> Any:
            return handler(data, request) if data[self.tab] == tab.id else gr.skip()

        return handled

    def _model(self, models: list[tuple[str, str]]) -> None:
        self.fields["model"] = gr.Dropdown(models, value=models[0][1], label="Model", elem_id="model")
        self.model_note = gr.HTML(markup.note(model_sentence(models[0][1])), elem_classes="vq-noted")

    def _data(self) -> None:
        """Folded away on a phone, where it would stand above every page."""
        folding = gr.Accordion("Pictures", open=True, elem_id="model-data", elem_classes="vq-secondary")
        with folding, gr.Row():
            with gr.Column(scale=4, min_width=280), gr.Group(elem_classes="vq-group"):
                self._pictures()
            with gr.Column(scale=4, min_width=280), gr.Group(elem_classes="vq-group"):
                self._counts()

    def _pictures(self) -> None:
        """Where they come from."""
        self.fields["pictures"] = gr.Radio(
            picture_places(), value="own", label="Pictures", elem_id="pictures"
        )
        said = pictures_sentence(self.fields["model"].value, "own")
        self.pictures_note = gr.HTML(markup.note(said), elem_classes="vq-noted")
        self.fields["folder"] = gr.Textbox(
            default_folder(), label="Folder or .zip on this computer", visible=False, elem_id="folder",
            placeholder="…/<class>/<file>, or pictures in one flat folder",
        )  # fmt: skip
        self.fields["uploads"] = gr.File(
            label="Pictures, or one .zip of them", file_count="multiple", type="filepath", height=140,
            visible=False, elem_id="uploads",
        )  # fmt: skip

    def _counts(self) -> None:
        with gr.Row(equal_height=True, elem_classes="vq-counts"):
            for count in COUNTS:
                self.fields[count.name] = count.build(70 if count.name == "seed" else 90)

    def _explain(self) -> None:
        """Keep the sentences, and which box is shown, in step with the choice of model and pictures."""
        model, place = self.fields["model"], self.fields["pictures"]
        model.change(_model_chosen, [model, place], [self.model_note, place], **LIGHT)
        gr.on([model.change, place.change], _pictures_note, [model, place], self.pictures_note, **LIGHT)
        place.change(_shown(BOXES), place, [self.fields[name] for name in BOXES], **LIGHT)

    def enter(self, name: str, tab: gr.Tab, tasks: tuple[str, ...], chooses: bool) -> None:
        """What happens when a tab opens, before anything that its page does: Gradio asks the listeners to an
        event one after the other.

        `tasks`: of the models that it is about; for another one it opens with the last that it is about.
        `chooses`: whether it has a field for the model itself; the stylesheet then hides the bar.
        """

        def entered(chosen: Any, last: str) -> Any:
            return name, gr.skip() if chooses or task_of(chosen) in tasks else last

        model = self.fields["model"]
        tab.select(entered, [model, self.last], [self.tab, model], **LIGHT)

    def connect(self, tasks: Mapping[str, tuple[str, ...]], theirs: Mapping[str, Component]) -> None:
        """A model that the open tab is not about opens its own. By the names of the tabs: what each is about,
        and `theirs`, the field of those that choose a model themselves.
        """
        model = self.fields["model"]

        def chosen(data: Mapping[Component, Any]) -> dict[Component, Any]:
            task = task_of(data[model])
            if task in tasks.get(data[self.tab], ALL):
                return {self.last: data[model]} if task in SHOWN else gr.skip()
            fitting = [name for name, known in tasks.items() if task in known]
            if not fitting:  # no model's name
                return gr.skip()
            name = min(fitting, key=lambda name: len(tasks[name]))  # its own, not one for many
            moved = {self.opens: name, model: data[self.last]}
            return {**moved, theirs[name]: data[model]} if name in theirs else moved

        event = model.input(
            chosen, {model, self.tab, self.last}, {self.opens, model, self.last, *theirs.values()}, **LIGHT
        )
        open_tab(event, self.opens)


def model_sentence(model_id: Any) -> str:
    info = offered(model_id, ALL)
    return "" if info is None else info.summary


def choosing(model_id: Any, own: Iterable[Any] = (), tasks: tuple[str, ...] = ALL) -> Any:
    """For a box of models for `tasks`: this one is chosen, which is listed on this page alone where it was
    brought from the hub or a file. `own`: others that this page has."""
    listed = next((each for _, each in choices(tasks) if each == model_id), None)
    known = listed is not None or offered(model_id, tasks) is None  # what is none is refused as it was
    listing = {} if known else {"choices": choices_with([*own, model_id], tasks)}
    return gr.update(value=model_id, **listing)


def picture_places() -> list[tuple[str, str]]:
    folder = [("Folder", "folder")] if folders_allowed() else []
    return [("Built-in", "own"), *folder, ("My files", "uploads"), ("None: made from noise", "generated")]


def pictures_sentence(model_id: Any, place: Any) -> str:
    """Empty for what is no place."""
    if task_of(model_id) in SEGMENTS:
        return SCENES_ALONE
    if place == "own":
        return OWN_SCENES if draws_scenes(model_id) else OWN_PHOTOGRAPHS
    return OTHERS_PICTURES[place] if is_name(place, OTHERS_PICTURES) else ""


def _shown(names: tuple[str, ...]) -> Callable[[str], list[Any]]:
    return lambda chosen: [gr.update(visible=chosen == name) for name in names]


def _model_chosen(model_id: str, place: str) -> tuple[str, Any]:
    """A folder named by VITQ_PICTURES is meant for the models that the studio has no pictures for."""
    note = markup.note(model_sentence(model_id))
    if not default_folder() or is_name(place, ("uploads", "generated")) or task_of(model_id) in SEGMENTS:
        return note, gr.skip()
    return note, "own" if draws_scenes(model_id) else "folder"


def _pictures_note(model_id: str, place: str) -> str:
    return markup.note(pictures_sentence(model_id, place))
