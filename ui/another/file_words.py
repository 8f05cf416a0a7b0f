"""What a visitor says of a file of weights: boxes of text, filled in from the file where it tells."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from vitq_core import FileDescription
from vitq_core.experiment import INTERPOLATIONS, is_name

from ..parts.forms import Fields

PROMPTED = "segment_anything"  # says all by itself
NUMBERS = "Numbers between commas, such as 0.485, 0.456, 0.406."
SIZE = "Pixels, such as 224, or height×width, such as 224×192."
CROP = "A number above 0 and up to 1, such as 0.9."


@dataclass(frozen=True)
class Box:
    """`read(text)` raises ValueError with what belongs there; `write(value)` is its reverse."""

    label: str
    placeholder: str
    read: Callable[[str], Any]
    write: Callable[[Any], str] = str
    lines: int = 1


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in re.split(r"[\s,;]+", text.strip("[]() "))]
    except ValueError:
        raise ValueError(NUMBERS) from None


def _size(text: str) -> int | tuple[int, int]:
    sides = re.fullmatch(r"(\d{1,5})(?:\s*[x×,]\s*(\d{1,5}))?", text)
    if sides is None:
        raise ValueError(SIZE)
    return (int(sides[1]), int(sides[2])) if sides[2] else int(sides[1])


def _crop(text: str) -> float:
    try:
        crop = float(text)
    except ValueError:
        crop = 0.0
    if not 0 < crop <= 1:
        raise ValueError(CROP)
    return crop


def _labels(text: str) -> list[str]:
    """A line each; on one line, between commas."""
    parts = text.splitlines() if "\n" in text else text.split(",")
    return [part.strip() for part in parts if part.strip()]


def _interpolation(text: str) -> str:
    if not is_name(text, INTERPOLATIONS):
        raise ValueError(f"Choose one of {', '.join(INTERPOLATIONS)}.")
    return text


def _comma(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))


def _side(size: tuple[int, int]) -> str:
    height, width = size
    return str(height) if height == width else f"{height}×{width}"


ARCHITECTURE = "architecture"
BOXES = {
    ARCHITECTURE: Box("Architecture, by timm's name", "vit_small_patch16_224", str),
    "labels": Box("Labels, a line each", "ant\nbee\nfox", _labels, "\n".join, lines=3),
    "size": Box("Picture size", "224", _size, _side),
    "mean": Box("Mean of each channel", "0.485, 0.456, 0.406 (ImageNet's)", _numbers, _comma),
    "std": Box("Standard deviation of each channel", "0.229, 0.224, 0.225 (ImageNet's)", _numbers, _comma),
    "crop_pct": Box("Crop", "0.875", _crop),
    "interpolation": Box("Interpolation", "bicubic", _interpolation),
}
NARROW = ("size", "crop_pct", "interpolation")


def build() -> Fields:
    """The boxes, by the names of `vq.load_model`'s parameters."""
    fields: Fields = {}
    for name, box in BOXES.items():
        if name not in NARROW:
            fields[name] = _field(name, box)
    with gr.Row(elem_classes="vq-counts"):
        for name in NARROW:
            fields[name] = _field(name, BOXES[name])
    return fields


def _field(name: str, box: Box) -> gr.components.Component:
    common = {"label": box.label, "elem_id": f"own-{name.replace('_', '-')}", "min_width": 90}
    if name == ARCHITECTURE:
        return gr.Dropdown([], value=None, allow_custom_value=True, **common)
    return gr.Textbox("", placeholder=box.placeholder, lines=box.lines, max_lines=8 * box.lines, **common)


def read(texts: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """(what `vq.load_model` is told, what is wrong with a box); an empty box says nothing."""
    said, wrong = {}, {}
    for name, text in texts.items():
        if not isinstance(text, str):
            wrong |= {} if text is None else {name: "Text, please."}
        elif text.strip():
            try:
                said[name] = BOXES[name].read(text.strip())
            except ValueError as error:
                wrong[name] = str(error)
    return said, wrong


def filled(found: FileDescription | None) -> dict[str, Any]:
    """What each box shows for a file; all are empty for none."""
    texts = {name: "" if found is None else _text(found, name) for name in BOXES if name != ARCHITECTURE}
    if found is None or found.complete:
        return {**texts, ARCHITECTURE: gr.update(value=None, choices=[], visible=False)}
    names = list(dict.fromkeys(filter(None, (found.architecture, *found.candidates))))
    hint = "The shapes fit, but do not show heads or activation: it must be the one it was trained as."
    chosen = gr.update(value=(names or [None])[0], choices=names, visible=True, info=hint if names else None)
    return {**texts, ARCHITECTURE: chosen}


def _text(found: FileDescription, name: str) -> str:
    value = getattr(found, name)
    return "" if value is None else BOXES[name].write(value)
