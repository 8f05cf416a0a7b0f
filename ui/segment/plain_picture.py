"""The picture once more as Gradio's own image, for browsers in which ours does not react."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from ..parts import markup
from ..parts.forms import LIGHT
from ..parts.prompt_canvas import Box, Click, Drag, Point
from ..running.runs import Data, Updates, sentence
from .clicks import CLICK

if TYPE_CHECKING:
    from .board import Board

ACTIONS = [("a click on the object", "on"), ("a click beside it", "beside"), ("a corner of a box", "corner")]
NO_PLACE = "This is no place in the picture."
ONE_CORNER = "That is one corner; click the opposite one."
NOTE = "It knows clicks only: a box is two clicks, on corners that lie opposite."
SENT_SIDE = 1200


class PlainPicture:
    """Filled when it is opened; another picture closes it. `corner`: the first one of a box."""

    def __init__(self, board: Board):
        self.board, self.corner = board, gr.State(None)
        with gr.Accordion(
            "Does the picture not react? Click in this one.", open=False, elem_id="segment-plain"
        ) as self.panel:
            gr.HTML(markup.note(NOTE))
            self.action = gr.Radio(
                ACTIONS, value="on", label="The next click is", elem_id="segment-plain-action"
            )
            self.image = gr.Image(
                interactive=False, show_label=False, buttons=[], height=420, elem_id="segment-plain-image"
            )
            self.said = gr.HTML()

    @property
    def outputs(self) -> set[Component]:
        return {self.panel, self.image, self.corner, self.said}

    def connect(self) -> None:
        self.panel.expand(self.fill, {self.board.visit}, self.image, **LIGHT)
        self.image.select(
            self.point, self.board.asked | {self.action, self.corner}, self.board.outputs, **CLICK
        )

    def empty(self) -> Updates:
        return {self.panel: gr.update(open=False), self.image: None, self.corner: None, self.said: ""}

    def fill(self, data: Data) -> Any:
        visit = data[self.board.visit]
        return None if visit is None else self.board.bench.pictures.sized(visit.picture, SENT_SIDE)

    def point(self, data: Data, event: gr.SelectData) -> Updates:
        visit = data[self.board.visit]
        if visit is None:
            return gr.skip()
        try:
            place = self._original(event.index, visit.picture)
        except ValueError as error:
            return {self.said: markup.banner("error", "That was not answered.", sentence(error))}
        if data[self.action] != "corner":
            made = Click(place, data[self.action] == "on")
            return {**self.board.point_here(data, made), self.corner: None, self.said: ""}
        if data[self.corner] is None:
            return {self.corner: place, self.said: markup.note(ONE_CORNER)}
        made = Drag(_between(data[self.corner], place))
        return {**self.board.point_here(data, made), self.corner: None, self.said: ""}

    def _original(self, index: Any, picture: Any) -> Point:
        """Gradio counts in pixels of what was sent. Raises ValueError for what is no pixel of it."""
        sent = self.board.bench.pictures.sized(picture, SENT_SIDE).size
        if not isinstance(index, (list, tuple)) or len(index) != 2 or not all(map(_is_number, index)):
            raise ValueError(NO_PLACE)
        if not all(0 <= value < side for value, side in zip(index, sent, strict=True)):
            raise ValueError(NO_PLACE)
        return tuple(
            (value + 0.5) * side / small for value, side, small in zip(index, picture.size, sent, strict=True)
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _between(a: Point, b: Point) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])
