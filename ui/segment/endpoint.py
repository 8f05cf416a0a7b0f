"""What programs may call: masks for clicks and boxes, or of everything, by one model or by two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from ..parts import checks
from ..parts.raw_inputs import RawNumber, raw_image
from ..running.programs import PUBLIC, or_error
from . import settings
from .answers import Told, compared
from .bench import SegmentBench
from .everything import Found, Sieve, find
from .everything_section import problems as sieve_problems
from .mask_files import FOLDERS, write_masks
from .settings import NO_MODEL, SamSettings
from .visit import MAX_OBJECTS, Picture, Thing

KEYS = {"points", "labels", "box"}
USAGE = (
    'prompts: Send a list with one entry an object, such as [{"points": [[120, 80]], "labels": [1]}, '
    '{"box": [10, 20, 200, 180]}].'
)


def add_endpoints(bench: SegmentBench) -> None:
    """Adds them to the Blocks being built."""
    first = settings.models()[0][1] if settings.models() else ""
    opening = SamSettings("", "")
    with gr.Row(visible=False):
        picture = raw_image(label="picture")
        inputs = [
            gr.Textbox(first, label="model"),
            gr.Textbox("", label="recipe"),
            RawNumber(opening.weight_bits, label="weight_bits"),
            RawNumber(opening.act_bits, label="act_bits"),
            gr.Textbox(opening.parts, label="parts"),
        ]
        asked = [picture, gr.JSON(label="prompts"), *inputs]
        outputs = [gr.JSON(label="answers"), gr.File(label="masks")]
        gr.Button().click(_segment(bench), asked, outputs, api_name="segment", **PUBLIC)
        asked = [picture, *inputs, RawNumber(Sieve.points, label="points")]
        gr.Button().click(_everything(bench), asked, outputs, api_name="segment_everything", **PUBLIC)


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

        Where a recipe is named a quantized model answers too, and `iou` says how far both agree.

        Args:
            picture: with the objects
            prompts: a list with one of {"points": [[x, y]], "labels": [1]} and {"box": [x, y, x, y]} an object, in pixels of the upright picture; a label is 1 on the object, 0 beside it
            model: the id of a model of `list_models` whose task is segmentation
            recipe: the name of a method of `list_recipes`; empty for full precision alone
            weight_bits: of the quantized model, from 2 to 8
            act_bits: of the quantized model, from 2 to 8
            parts: what is quantized, one of both, encoder, decoder and all, with the heads at 8 bits
        """  # noqa: E501 - Gradio reads one line for each argument

        def answered() -> tuple[dict, str]:
            chosen = _chosen(model, recipe, weight_bits, act_bits, parts)
            return _answered(bench, picture, _things(prompts), model, chosen)

        return or_error(answered)

    return segment


def _everything(bench: SegmentBench) -> Callable[..., tuple[dict, str]]:
    def segment_everything(
        picture: str | None,
        model: str,
        recipe: str,
        weight_bits: int,
        act_bits: int,
        parts: str,
        points: int,
    ) -> tuple[dict, str]:
        """All objects of a picture: how many, and a zip with a PNG for each model, an object a grey value.

        Where a recipe is named a quantized model looks too, and `ious` are of the objects that both find.

        Args:
            picture: to look at
            model: the id of a model of `list_models` whose task is segmentation
            recipe: the name of a method of `list_recipes`; empty for full precision alone
            weight_bits: of the quantized model, from 2 to 8
            act_bits: of the quantized model, from 2 to 8
            parts: what is quantized, one of both, encoder, decoder and all, with the heads at 8 bits
            points: clicks along each side of the grid that finds objects, from 2 to 64
        """

        def looked() -> tuple[dict, str]:
            checks.refuse(sieve_problems({**vars(Sieve()), "points": points}))
            chosen = _chosen(model, recipe, weight_bits, act_bits, parts)
            return _all_objects(bench, picture, model, chosen, Sieve(int(points)))

        return or_error(looked)

    return segment_everything


def _all_objects(
    bench: SegmentBench, path: str | None, model: str, chosen: SamSettings | None, how: Sieve
) -> tuple[dict, str]:
    picture = _sent(bench, path)
    if chosen is not None:
        bench.quantize(chosen)
    with bench.bench.computing():
        found = find(bench, model, chosen, picture, how)
    seen = [each for each in (found.full, found.quantized) if each is not None]
    masks = [(f"{name}.png", each.labels.astype("uint16")) for name, each in zip(FOLDERS, seen, strict=False)]
    file = write_masks(bench.bench.new_file(f"objects-of-{Path(picture.name).stem}.zip"), masks)
    return _counted(found), str(file)


def _counted(found: Found) -> dict:
    if found.quantized is None:
        return {"full_precision": found.full.count}
    counts = {"full_precision": found.full.count, "quantized": found.quantized.count}
    return {**counts, "both": len(found.ious), "ious": list(found.ious)}


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
        checks.refuse({"model": wrong["model"]} if "model" in wrong else {})
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
    picture = _sent(bench, path)
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


def _sent(bench: SegmentBench, path: str | None) -> Picture:
    if not path:
        raise ValueError("picture: Send one.")
    return bench.pictures.uploaded(path)


def _told(told: Told | None) -> dict[str, Any] | None:
    return (
        None if told is None else {"ious": told.ious, "chosen": told.chosen, "pixels": int(told.mask.sum())}
    )
