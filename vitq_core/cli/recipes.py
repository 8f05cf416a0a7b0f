"""From the options of a command to a recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import vitq_core as vq
from vitq_core.experiment import SETTINGS

from . import recipe_files
from .pictures import SEGMENTS

USUAL, FOR_MASKS = "vitq", "ptq4sam"
BOTH = ("encoder", "decoder")
NO_EFFORT = "none"
BITS = 4


def usual_recipe(task: str) -> str:
    """As the studio's pages have it."""
    return FOR_MASKS if task == SEGMENTS else USUAL


def chosen_recipe(
    task: str,
    name: str | None = None,
    weight_bits: int | None = None,
    act_bits: int | None = None,
    effort: str | None = None,
    settings: Sequence[str] | None = None,
    file: Path | None = None,
    integer: bool = False,
) -> vq.Recipe:
    """For a model of this `task`. What is None is as `file` says it, or as usual.

    Raises ValueError as `vq.recipe` does, and for a setting or a file that says nothing.
    """
    given = {"recipe": name, "weight_bits": weight_bits, "act_bits": act_bits, "effort": effort}
    given = {key: value for key, value in given.items() if value is not None} | parsed(settings)
    form = {} if file is None else recipe_files.read(file)
    if recipe_files.WHOLE in form:
        _refuse_beside(given, file)
        recipe = vq.Recipe.from_json(json.dumps(form))
    else:
        recipe = _named({**form, **given}, task)
    return vq.integer_form(recipe) if integer else recipe


def parsed(settings: Sequence[str] | None) -> dict[str, Any]:
    """{option: value} of lines option=value; a value that is no JSON is text."""
    found = {}
    for line in settings or ():
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"a setting is OPTION=VALUE, such as alpha=0.1, got {line!r:.80}")
        found[name.strip()] = _parsed(value.strip())
    return found


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _named(form: Mapping[str, Any], task: str) -> vq.Recipe:
    name = form.get("recipe", usual_recipe(task))
    options = {key: value for key, value in form.items() if key not in recipe_files.OWN}
    if "effort" not in options and not SETTINGS & set(options):
        options["effort"] = NO_EFFORT
    if task == SEGMENTS and name in vq.RECIPES and "parts" in vq.RECIPES[name].applies:
        options.setdefault("parts", BOTH)  # as the studio says it
    if isinstance(options.get("parts"), list):
        options["parts"] = tuple(options["parts"])
    bits = (form.get("weight_bits", BITS), form.get("act_bits", BITS), form.get("bits"))
    return vq.recipe(name, *bits, **options)


def _refuse_beside(given: Mapping[str, Any], file: Path | None) -> None:
    if given:
        raise ValueError(
            f"{file} holds a whole recipe, which already says everything; leave out {', '.join(given)}"
        )
