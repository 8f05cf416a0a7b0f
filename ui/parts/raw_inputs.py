"""Inputs that hand over what came in as it is, where Gradio would convert or refuse it first.

They are classes, since Gradio builds a component anew from its class wherever an event leaves it as it was.
"""

import base64
import hashlib
from abc import ABCMeta
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData

from vitq_core.experiment import replace_file

HOW_TO_SEND = "Send a file, or a data URL such as data:image/png;base64,…; addresses are not fetched."
LONGEST_URL = 20 * 2**20 * 4 // 3 + 4  # letters; base64 has four for three bytes


class _WithoutStub(type(gr.Image)):
    """Gradio's own class of component classes writes a stub file beside every one; this does not."""

    def __new__(cls, name: str, bases: tuple[type, ...], attributes: dict[str, Any]) -> type:
        return ABCMeta.__new__(cls, name, bases, attributes)


class RawImage(gr.Image, metaclass=_WithoutStub):
    """`gr.Image` converts an upload before any of our code runs, and fails where Pillow cannot.

    This one gives handlers the file's path. Programs may send a data URL, which becomes a file.
    """

    is_template = True  # the browser shows it as it shows gr.Image

    def preprocess(self, payload: ImageData | None) -> str | None:
        if payload is None or payload.path:
            return payload.path if payload else None
        return _saved(payload.url, self.GRADIO_CACHE) if payload.url else None


def raw_image(**kwargs: Any) -> gr.Image:
    """The box, for one picture."""
    return RawImage(type="filepath", **kwargs)


class RawNumber(gr.Number, metaclass=_WithoutStub):
    """`gr.Number` makes numbers of texts and rounds; our forms say what is wrong with them."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        return payload


def _saved(url: str, folder: str) -> str:
    """The path of a file with what a data URL holds. gr.Error for another address, which nobody fetches."""
    kind, comma, encoded = url.partition(",")
    if not comma or not kind.startswith("data:") or not kind.endswith(";base64"):
        raise gr.Error(f"picture: {HOW_TO_SEND}", print_exception=False)
    if len(encoded) > LONGEST_URL:
        raise gr.Error("picture: It has more than 20 MB; send a smaller one.", print_exception=False)
    try:
        data = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise gr.Error(f"picture: Its data URL is damaged. {HOW_TO_SEND}", print_exception=False) from error
    place = Path(folder) / hashlib.sha256(data).hexdigest()
    place.mkdir(parents=True, exist_ok=True)
    replace_file(place / "picture", lambda path: path.write_bytes(data))
    return str(place / "picture")


class RawSlider(gr.Slider, metaclass=_WithoutStub):
    """`gr.Slider` meets a number outside of its range with an error of its own; our forms have a sentence."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        return payload
