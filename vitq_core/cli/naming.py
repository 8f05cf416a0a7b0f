"""What a run is called, and what the studio keeps of its form, so that its pages can show and open it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import vitq_core as vq
from vitq_core.experiment import counted, known_options
from vitq_core.experiment.runs import FOLDER, GENERATED, SCENES, UPLOADS, Asked

USUAL_CALIBRATION, USUAL_SCENES = 32, 8
# What the studio calls the parts of a Segment Anything that are quantized, by (parts, bits of the heads).
BOTH = ("encoder", "decoder")
PARTS = {
    (BOTH, None): "both",
    (("encoder",), None): "encoder",
    (("decoder",), None): "decoder",
    (BOTH, 8): "all",
}

UNUSUAL_PARTS = {"encoder": ["encoder only"], "decoder": ["decoder only"], "all": ["heads at 8 bits"]}


def name_of(asked: Asked, segments: bool = False) -> str:
    """For people: model, method, bits, and what differs from the usual."""
    recipe = asked.recipe
    title = vq.RECIPES[recipe.name].title if recipe.name in vq.RECIPES else recipe.title
    bits = "mixed bits" if recipe.bits else f"W{recipe.weight_bits}/A{recipe.act_bits}"
    return " · ".join([asked.model, title, bits, *_unusual(asked, segments)])


def _unusual(asked: Asked, segments: bool) -> list[str]:
    effort, (_, form) = asked.recipe.options.effort, _base(asked.recipe)
    said = [] if effort == "none" else [f"{effort} effort"]
    said += ["integer form"] if form == "integer" else []
    own = _own_options(asked.recipe)
    if segments and _parts(asked.recipe) is not None:
        own = {name: value for name, value in own.items() if name not in ("parts", "heads")}
        said += UNUSUAL_PARTS.get(_parts(asked.recipe), [])
    said += [known_options()[name].in_words(value) for name, value in sorted(own.items())]
    said += [_setting(name, value) for name, value in _own_settings(asked.recipe).items()]
    if asked.calibration != (USUAL_SCENES if segments else USUAL_CALIBRATION):
        said.append(counted(asked.calibration, "calibration scene" if segments else "calibration picture"))
    said += [f"seed {asked.seed}"] if asked.seed else []
    if asked.pictures in (FOLDER, UPLOADS) and asked.places:
        said.append(Path(asked.places[0]).name.removesuffix(".zip"))
    return said + (["pictures from noise"] if asked.pictures == GENERATED else [])


def _setting(name: str, value: Any) -> str:
    return counted(value, "iteration") if name == "iterations" else f"{name}={value}"


def _own_options(recipe: vq.Recipe) -> dict[str, Any]:
    """Those that a recipe of this name does not have anyway."""
    own = vq.RECIPES[recipe.name].options if recipe.name in vq.RECIPES else {}
    return {
        name: value for name, value in recipe.options.owned.items() if name not in own or own[name] != value
    }


def _own_settings(recipe: vq.Recipe) -> dict[str, Any]:
    """Of the fine-tuning, the same."""
    own = vq.RECIPES[recipe.name].options.reconstruction if recipe.name in vq.RECIPES else {}
    return {k: v for k, v in recipe.options.reconstruction.items() if k not in own or own[k] != v}


def _base(recipe: vq.Recipe) -> tuple[vq.Recipe | None, str]:
    """(the named recipe with the same options, "same" or "integer" form); (None, "") where there is none."""
    options = {"effort": recipe.options.effort, **_own_options(recipe), **_own_settings(recipe)}
    try:
        named = vq.recipe(recipe.name, recipe.weight_bits, recipe.act_bits, recipe.bits, **options)
        if named == recipe:
            return named, "same"
        return (named, "integer") if vq.integer_form(named) == recipe else (None, "")
    except (ValueError, vq.VitqError):
        return None, ""


def settings_of(asked: Asked) -> dict[str, Any]:
    """The fields of the studio's form; empty where it has none for what was asked, and only lists the run."""
    recipe, (base, form) = asked.recipe, _base(asked.recipe)
    learned = _own_settings(recipe)
    if base is None or set(learned) - {"iterations"}:
        return {}
    bits = {"weight_bits": recipe.weight_bits, "act_bits": recipe.act_bits}
    shared = {
        "model": asked.model,
        "recipe": recipe.name,
        **bits,
        "seed": asked.seed,
        "integer": form == "integer",
    }
    if asked.pictures == SCENES or recipe.made_for == "segmentation" or "parts" in recipe.options:
        return _of_masks(asked, shared)
    return {
        **shared,
        "options": sorted(_own_options(recipe).items()),
        "calibration": asked.calibration,
        "held_out": asked.judged,
        "pictures": asked.pictures,
        "folder": asked.places[0] if asked.pictures == FOLDER else "",
        "uploads": [],
        "table": [[layer, *pair] for layer, pair in recipe.bits.items()],
        "effort": recipe.options.effort,
        "iterations": learned.get("iterations"),
    }


def _parts(recipe: vq.Recipe) -> str | None:
    """The studio's word for what of a Segment Anything is quantized; None where it has none."""
    return PARTS.get((tuple(recipe.options.parts or BOTH), recipe.options.heads))


def _of_masks(asked: Asked, shared: dict[str, Any]) -> dict[str, Any]:
    options, parts = asked.recipe.options, _parts(asked.recipe)
    others = set(_own_options(asked.recipe)) - {"parts", "heads"}
    if parts is None or others or options.effort != "none" or asked.recipe.bits:
        return {}
    return {**shared, "parts": parts, "calibration": asked.calibration}
