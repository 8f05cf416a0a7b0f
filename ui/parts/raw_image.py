"""An image box that hands over the uploaded file as it is."""

from typing import Any

import gradio as gr
from gradio.data_classes import ImageData


def raw_image(**kwargs: Any) -> gr.Image:
    """`gr.Image` converts an upload before any of our code runs, and shows Pillow's words where it cannot.

    This one gives handlers the file's path. The method is replaced on one component, because Gradio writes
    a stub file beside every subclass; handlers return plain values for it: `gr.update` builds a new one.
    """
    box = gr.Image(type="filepath", **kwargs)
    box.preprocess = _path
    return box


def _path(payload: ImageData | None) -> str | None:
    return payload.path if payload else None
