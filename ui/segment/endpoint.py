"""What programs may call: masks for clicks and boxes, by one model or by two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from ..parts.checks import refuse
from ..parts.raw_inputs import raw_image
from ..running.runs import HEAVY, sentence
from . import settings
from .answers import Told, compared
from .bench import SegmentBench
from .mask_files import FOLDERS, write_masks
from .settings import NO_MODEL, SamSettings
from .visit import MAX_OBJECTS, Thing

KEYS = {"points", "labels", "box"}
USAGE = (
    'prompts: Send a list with one entry an object, such as [{"points": [[120, 80]], "labels": [1]}, '
    '{"box": [10, 20, 200, 180]}].'
)


def add_endpoint(bench: SegmentBench) -> None:
    """Adds it to the Blocks being built."""
    first = settings.models()[0][1] if settings.models() else ""
    opening = SamSettings("", "")
    with gr.Row(visible=False):
        inputs = [
            raw_image(label="picture"),
            gr.JSON(label="prompts"),
            gr.Textbox(first, label="model"),
            gr.Textbox("", label="recipe"),
            gr.Number(opening.weight_bits, label="weight_bits"),
            gr.Number(opening.act_bits, label="act_bits"),
            gr.Textbox(opening.parts, label="parts"),
        ]
        outputs = [gr.JSON(label="answers"), gr.File(label="masks")]
        gr.Button().click(
            _segment(bench), inputs, outputs, api_name="segment", **{**HEAVY, "api_visibility": "public"}
        )


def _segment(bench: SegmentBench) -> Callable[..., tuple[dict, str]]:
    def segment(
        picture: str | None,
        prompts: Any,
        model: str,
        recipe: str,
        weight_bits: int,
        act_bits: int,
        parts: str,
    ) -> tuple[dict, str]:
        """Masks of the objects that `prompts` point at, in a zip of PNGs as large as the picture.

        Points and boxes are in pixels of the upright picture: turned as its EXIF says. `labels`: 1 on the
        object, 0 beside it. `recipe` empty: full precision alone; otherwise a quantized model answers too
        (`parts`: both, encoder, decoder, or all, with the heads at 8 bits); `iou` says how far both agree.
        """
        try:
            chosen = _chosen(model, recipe, weight_bits, act_bits, parts)
            return _answered(bench, picture, _things(prompts), model, chosen)
        except Exception as error:
            raise gr.Error(sentence(error), print_exception=False) from error

    return segment


def _chosen(model: Any, recipe: Any, weight_bits: Any, act_bits: Any, parts: Any) -> SamSettings | None:
    """None where full precision answers alone. Raises ValueError for settings that cannot be."""
    if not settings.models():
        raise ValueError(NO_MODEL)
    opening = SamSettings("", "")
    values = {
        "model": model, "recipe": recipe, "weight_bits": weight_bits, "act_bits": act_bits, "parts": parts,
        "calibration": opening.calibration, "seed": opening.seed,
    }  # fmt: skip
    if recipe == "":
        wrong = settings.problems(values)
        refuse({"model": wrong["model"]} if "model" in wrong else {})
        return None
    return settings.from_form(values)


def _things(prompts: Any) -> list[Thing]:
    """Raises ValueError for what is no list of objects; a prompt is judged when it is asked."""
    if not isinstance(prompts, list) or not 0 < len(prompts) <= MAX_OBJECTS:
        raise ValueError(USAGE)
    for item in prompts:
        if not isinstance(item, dict) or not item or not KEYS.issuperset(item):
            raise ValueError(USAGE)
    return [Thing(item.get("points", ()), item.get("labels", ()), item.get("box")) for item in prompts]


def _answered(
    bench: SegmentBench, path: str | None, things: list[Thing], model: str, chosen: SamSettings | None
) -> tuple[dict, str]:
    if not path:
        raise ValueError("picture: Send one.")
    picture = bench.pictures.uploaded(path)
    if chosen is not None:
        bench.quantize(chosen)
    told, masks = [], []
    for number, thing in enumerate(things):
        answers = bench.ask(model, chosen, picture, thing)
        found = compared(*answers)
        both = {"iou": found.iou, "changed": found.changed, "quantized": _told(found.quantized)}
        told.append({"full_precision": _told(found.full), **(both if found.quantized else {})})
        names = [f"{folder}/object-{number + 1}.png" for folder in FOLDERS]
        masks += zip(names, (answer.mask for answer in answers), strict=False)
    file = write_masks(bench.bench.new_file(f"masks-of-{Path(picture.name).stem}.zip"), masks)
    return {"size": list(picture.size), "objects": told}, str(file)


def _told(told: Told | None) -> dict[str, Any] | None:
    return (
        None if told is None else {"ious": told.ious, "chosen": told.chosen, "pixels": int(told.mask.sum())}
    )
