"""Inputs that hand over what came in as it is, where Gradio would convert or refuse it first.

They are classes, since Gradio builds a component anew from its class wherever an event leaves it as it was.
"""

from abc import ABCMeta
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData


class _WithoutStub(type(gr.Image)):
    """Gradio's own class of component classes writes a stub file beside every one; this does not."""

    def __new__(cls, name: str, bases: tuple[type, ...], attributes: dict[str, Any]) -> type:
        return ABCMeta.__new__(cls, name, bases, attributes)


class RawImage(gr.Image, metaclass=_WithoutStub):
    """`gr.Image` converts an upload before any of our code runs, and fails where Pillow cannot.

    This one gives handlers the file's path.
    """

    is_template = True  # the browser shows it as it shows gr.Image

    def preprocess(self, payload: ImageData | None) -> str | None:
        return payload.path if payload else None


def raw_image(**kwargs: Any) -> gr.Image:
    """The box, for one picture."""
    return RawImage(type="filepath", **kwargs)


class RawSlider(gr.Slider, metaclass=_WithoutStub):
    """`gr.Slider` meets a number outside of its range with an error of its own; our forms have a sentence."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        return payload
