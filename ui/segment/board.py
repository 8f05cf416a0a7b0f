"""The right column: the picture to point at, and what the models say of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.components import Component

from ..parts import divider, markup
from ..parts.prompt_canvas import Click, Drag, canvas_value, gesture, prompt_canvas
from ..running.run_parts import connect_file
from ..running.runs import HEAVY, Data, Updates, sentence
from . import colours, view
from . import visit as visits
from .answers import Compared
from .bench import SegmentBench
from .clicks import CLICK
from .form import Form
from .mask_files import mask_file
from .plain_picture import PlainPicture
from .settings import SamSettings
from .visit import Picture, Visit

SENT_SIDE = 1600  # pixels of the picture that a browser gets
SIDE, CANDIDATE = 420, 220  # of the smaller ones beneath
ON, BESIDE = "on", "beside"
TOOLS = [("on the object", ON), ("not on it", BESIDE)]
LAYERS = [("Both, differences marked", "both"), ("Full precision", "full"), ("Quantized", "quantized")]
FOUND_NOTHING = "The mask is empty: the model finds nothing here."
NOT_HERE = (
    "This model is not loaded yet: press Load this model, which downloads it if it was never used here."
)
GONE = "The quantized model is no longer in memory; press Quantize to make it again."

Step = Callable[[Visit], Visit]


class Board:
    """`visit`: what this visitor points at; `shown`: the settings of the quantized model that answers too."""

    def __init__(self, bench: SegmentBench, form: Form, shown: gr.State):
        self.bench, self.form, self.shown = bench, form, shown
        self.visit = gr.State(None)
        with gr.Row(elem_classes="vq-compare vq-board"):
            with gr.Column(scale=5, min_width=300):
                self.canvas = prompt_canvas("segment-canvas")
                self._build_tools()
            with gr.Column(scale=4, min_width=280):
                self._build_numbers()
        self.objects = gr.HTML(elem_id="segment-objects")
        with gr.Accordion("The three candidates", open=False, elem_id="segment-candidates"):
            self.candidates = gr.HTML()
        self.plain = PlainPicture(self)

    def _build_tools(self) -> None:
        self.said = gr.HTML(markup.note(view.BEGIN), elem_id="segment-said")
        with gr.Row(elem_classes="vq-tools"):
            self.undo = gr.Button("Undo", size="sm", min_width=70, elem_id="segment-undo")
            self.another = gr.Button("New object", size="sm", min_width=100, elem_id="segment-new")
            self.clear = gr.Button("Clear", size="sm", min_width=70, elem_id="segment-clear")
            self.download = gr.Button("Download masks", size="sm", min_width=130, elem_id="segment-download")
        self.tool = gr.Radio(TOOLS, value=ON, label="The next click is", elem_id="segment-tool")
        self.number = gr.Radio([], label="The next click is about", visible=False, elem_id="segment-number")

    def _build_numbers(self) -> None:
        self.layer = gr.Radio(
            LAYERS, value="both", label="Masks on the picture", visible=False, elem_id="segment-layer"
        )
        self.legend = gr.HTML(view.legend(), visible=False)
        self.cards = gr.HTML(view.cards(None), elem_id="segment-cards")
        self.sides = gr.HTML(elem_id="segment-sides")
        self.divider = divider.divider("The mask", "segment-divider")

    @property
    def asked(self) -> set[Component]:
        return {self.visit, self.shown, self.layer, self.form.fields["model"]}

    @property
    def outputs(self) -> set[Component]:
        return {
            self.visit, self.shown, self.canvas, self.number, self.said, self.layer, self.legend, self.cards,
            self.sides, self.divider, self.objects, self.candidates, *self.plain.outputs,
        }  # fmt: skip

    def connect(self) -> None:
        pointed = self.asked | {self.tool}
        self.canvas.select(self.point, pointed, self.outputs, **CLICK)
        for event in (self.canvas.undo, self.undo.click):
            event(self.step_back, self.asked, self.outputs, **CLICK)
        self.another.click(self.begin_another, self.asked, self.outputs, **CLICK)
        self.clear.click(self.clear_all, self.asked, self.outputs, **CLICK)
        self.number.input(self.choose, self.asked | {self.number}, self.outputs, **CLICK)
        self.layer.input(self.refresh, self.asked, self.outputs, **CLICK)
        self.form.gallery.select(self.pick, self.asked, self.outputs, **CLICK).then(
            self.encode, self.asked, None, **CLICK
        )
        uploaded = self.form.upload.upload(
            self.drop, self.asked | {self.form.upload}, self.outputs | {self.form.upload}, **CLICK
        )
        uploaded.then(self.encode, self.asked, None, **CLICK)
        connect_file(self.download, self.masks, self.asked)
        self.plain.connect()
        self.form.load.click(self.load, self.asked, self.outputs | {self.form.load}, **HEAVY)
        self.form.fields["model"].change(self.switch, self.asked, self.outputs, **CLICK)

    def open(self, data: Data) -> Updates:
        """At the first look at the page: the first picture."""
        if data[self.visit] is not None:
            return gr.skip()
        return self._with_picture(data, lambda: self.bench.pictures.chosen(0))

    def encode(self, data: Data) -> None:
        """The costly half of an answer, before anybody clicks. What goes wrong is said at the click."""
        visit, model = data[self.visit], data[self.form.fields["model"]]
        if visit is None or not self.bench.bench.has_model(model):
            return
        try:
            self.bench.look(*self.models(data), visit.picture)
        except Exception:
            return

    def point(self, data: Data, event: gr.EventData) -> Updates:
        """A click or a box."""

        def step(visit: Visit) -> Visit:
            made = gesture(event._data, visit.picture.key, visit.picture.size)
            if isinstance(made, Click) and data[self.tool] == BESIDE:
                made = Click(made.place, not made.positive)
            return self._tried(data, visits.point_at(visit, made))

        return self._step(data, step)

    def point_here(self, data: Data, made: Click | Drag) -> Updates:
        return self._step(data, lambda visit: self._tried(data, visits.point_at(visit, made)))

    def _tried(self, data: Data, visit: Visit) -> Visit:
        """`visit`, once a model has answered it: a prompt that means nothing is not kept."""
        self._compare(data, visit, visit.active)
        return visit

    def step_back(self, data: Data) -> Updates:
        return self._step(data, visits.undo)

    def begin_another(self, data: Data) -> Updates:
        return self._step(data, visits.new_object)

    def clear_all(self, data: Data) -> Updates:
        return self._step(data, visits.clear)

    def choose(self, data: Data) -> Updates:
        return self._step(data, lambda visit: visits.select_object(visit, data[self.number]))

    def refresh(self, data: Data) -> Updates:
        """The same prompts: another model answers, or other masks are shown."""
        return self._step(data, lambda visit: visit)

    def switch(self, data: Data) -> Updates:
        """Another model: the quantized one on the page is not its own."""
        return self.refresh({**data, self.shown: self.models(data)[1]})

    def pick(self, data: Data, event: gr.SelectData) -> Updates:
        return self._with_picture(data, lambda: self.bench.pictures.chosen(event.index))

    def drop(self, data: Data) -> Updates:
        path = data[self.form.upload]
        if not path:
            return gr.skip()
        shown = self._with_picture(data, lambda: self.bench.pictures.uploaded(path))
        return {**shown, self.form.upload: None}

    def _with_picture(self, data: Data, choose: Callable[[], Picture]) -> Updates:
        """A visit to another picture; where that cannot be read, everything stays."""
        try:
            visit = Visit(choose())
            picture = colours.picture_url(self.bench.pictures.sized(visit.picture, SENT_SIDE))
            shown = self._shown(data, visit)
        except Exception as error:
            return {self.said: _failed("This picture could not be opened.", error)}
        drawn = gr.update(value=shown[self.canvas], picture=picture)
        return {**shown, self.canvas: drawn, **self.plain.empty()}

    def masks(self, data: Data) -> str:
        """The path of a zip with every object's masks. Raises gr.Error where there is nothing to save."""
        try:
            return str(mask_file(self.bench, *self.models(data), data[self.visit]))
        except Exception as error:
            raise gr.Error(sentence(error), print_exception=False) from error

    def _step(self, data: Data, step: Step) -> Updates:
        visit = data[self.visit]
        if visit is None:
            return {self.said: markup.note("Choose a picture first.")}
        try:
            return self._shown(data, step(visit))
        except Exception as error:
            # The browser's own mark of the click goes with the picture's being drawn again.
            return {**self._redrawn(data, visit), self.said: _failed("That was not answered.", error)}

    def _redrawn(self, data: Data, visit: Visit) -> Updates:
        try:
            return self._shown(data, visit)
        except Exception:
            return {}

    def _shown(self, data: Data, visit: Visit) -> Updates:
        """Everything about a visit. Raises what asking a model raises."""
        _, shown = self.models(data)
        gone = data[self.shown] is not None and shown is None
        data = {**data, self.shown: shown}
        answers = {number: self._compare(data, visit, number) for number, _ in visit.pointed}
        return {
            self.visit: visit,
            self.shown: shown,
            self.canvas: self._drawn(visit, answers, data[self.layer]),
            self.number: _numbers(visit),
            self.said: markup.banner("stopped", GONE) if gone else _said(visit, answers),
            **self._both(shown is not None),
            **self._numbers_of(visit, answers),
        }

    def _both(self, quantized: bool) -> Updates:
        return {self.layer: gr.update(visible=quantized), self.legend: gr.update(visible=quantized)}

    def _drawn(self, visit: Visit, answers: dict[int, Compared], layer: Any) -> dict[str, Any]:
        chosen = layer if layer in colours.LAYERS else "both"
        picture = visit.picture
        drawn = view.marks(visit, answers, chosen)
        return canvas_value(picture.key, view.spoken(picture), picture.size, drawn)

    def _numbers_of(self, visit: Visit, answers: dict[int, Compared]) -> Updates:
        active, pictures = answers.get(visit.active), self.bench.pictures
        small = pictures.sized(visit.picture, SIDE)
        return {
            self.cards: view.cards(active),
            self.sides: view.sides(small, active),
            self.divider: view.over_each_other(small, active),
            self.objects: view.objects(visit, answers),
            self.candidates: view.candidates(pictures.sized(visit.picture, CANDIDATE), active),
        }

    def models(self, data: Data) -> tuple[str, SamSettings | None]:
        """The model and what the quantized one was made by, where that is its own and still in memory."""
        model, shown = data[self.form.fields["model"]], data[self.shown]
        kept = shown is not None and shown.model == model and self.bench.made(shown) is not None
        return model, shown if kept else None

    def ready(self, data: Data) -> tuple[str, SamSettings | None]:
        """The same. Raises ValueError for a model that is not here: nothing is downloaded at a mere click."""
        model, shown = self.models(data)
        if not self.bench.bench.has_model(model):
            raise ValueError(NOT_HERE)
        return model, shown

    def load(self, data: Data) -> Updates:
        """The model that was chosen, downloaded where it was never used here; then it answers."""
        try:
            self.bench.full(data[self.form.fields["model"]])
        except Exception as error:
            return {self.said: _failed("The model could not be loaded.", error)}
        return {**self.refresh(data), self.form.load: gr.update(visible=False)}

    def _compare(self, data: Data, visit: Visit, number: int) -> Compared:
        return self.bench.compare(*self.ready(data), visit.picture, visit.things[number])


def _numbers(visit: Visit) -> Any:
    choices = [
        (f"Object {number + 1}: {view.in_words(thing)}", number) for number, thing in enumerate(visit.things)
    ]
    return gr.update(choices=choices, value=visit.active, visible=len(visit.things) > 1)


def _said(visit: Visit, answers: dict[int, Compared]) -> str:
    if visit.thing.only_beside:
        return markup.banner("warning", "A hint.", view.ONLY_BESIDE)
    active = answers.get(visit.active)
    if active is None:
        return markup.note(view.BEGIN)
    return markup.banner("warning", FOUND_NOTHING) if not active.full.mask.any() else view.help_lines()


def _failed(what: str, error: Exception) -> str:
    return markup.banner("error", what, sentence(error))
