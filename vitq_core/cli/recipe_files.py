"""Recipes as files. Two forms: what `vq.recipe` takes, to be written by hand, and a whole recipe's own
JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import vitq_core as vq
from vitq_core.experiment import given_path

NULL = "null"  # TOML has no word for it
OWN = ("recipe", "weight_bits", "act_bits", "bits")  # of the form by hand; everything else is an option
WHOLE = "rules"  # only a whole recipe has them
KINDS = (".json", ".toml")


def read(path: Path) -> dict[str, Any]:
    """The form by hand, or a whole recipe's. ValueError for what is neither."""
    text = _text(path)
    try:
        found = _toml(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as {path.suffix.lower()[1:]}: {error}") from error
    if not isinstance(found, Mapping):
        raise ValueError(f'{path} must be a table with a line such as recipe = "repq", got {found!r:.80}')
    return dict(found) if WHOLE in found else _without_nulls(found)


def write(path: Path, recipe: vq.Recipe) -> None:
    """The form by hand where that says everything, else the whole."""
    form = by_hand(recipe) or json.loads(recipe.to_json())
    text = _as_toml(form) if path.suffix.lower() == ".toml" else json.dumps(form, indent=2) + "\n"
    path.write_text(text)


def check_writable(path: Path) -> None:
    """ValueError where no recipe can be written there."""
    if path.suffix.lower() not in KINDS:
        raise ValueError(f"a recipe's file ends with {' or '.join(KINDS)}, got {str(path)!r:.80}")
    path = given_path(path, "--save-recipe", "file")
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"there is no folder for the file {str(path)!r:.80}; make it first")


def by_hand(recipe: vq.Recipe) -> dict[str, Any] | None:
    """What `vq.recipe` has to be given for this recipe; None where that gives another one."""
    options = {**recipe.options.owned, **recipe.options.reconstruction, "effort": recipe.options.effort}
    form: dict[str, Any] = {
        "recipe": recipe.name,
        "weight_bits": recipe.weight_bits,
        "act_bits": recipe.act_bits,
    }
    for given in (options, _unusual(recipe, options)):
        try:
            made = vq.recipe(recipe.name, recipe.weight_bits, recipe.act_bits, recipe.bits, **given)
        except ValueError:  # an option that another one of the recipe makes useless
            continue
        if made == recipe:
            return {
                **form,
                **given,
                **({"bits": {k: [*v] for k, v in recipe.bits.items()}} if recipe.bits else {}),
            }
    return None


def _unusual(recipe: vq.Recipe, options: Mapping[str, Any]) -> dict[str, Any]:
    """Without those that the recipe has anyway."""
    own = vq.RECIPES[recipe.name].options
    usual = {**own.owned, **own.reconstruction}
    return {name: value for name, value in options.items() if name not in usual or usual[name] != value}


def _text(path: Path) -> str:
    if path.suffix.lower() not in KINDS:
        raise ValueError(f"a recipe's file ends with {' or '.join(KINDS)}, got {str(path)!r:.80}")
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ValueError(f"the recipe's file {str(path)!r:.80} cannot be read: {error}") from error


def _toml(text: str) -> dict[str, Any]:
    try:
        import tomllib
    except ModuleNotFoundError as error:
        raise ValueError("Python before 3.11 reads no .toml; write the recipe as .json") from error
    return tomllib.loads(text)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nulls(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return None if value == NULL else value


def _as_toml(form: Mapping[str, Any]) -> str:
    """Tables of tables become inline ones, which TOML reads on one line."""
    lines = [
        f"{_key(name)} = {_value(value)}" for name, value in form.items() if not isinstance(value, Mapping)
    ]
    for name, value in form.items():
        if isinstance(value, Mapping):
            lines += [
                "",
                f"[{_key(name)}]",
                *(f"{_key(key)} = {_value(each)}" for key, each in value.items()),
            ]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return (
        name if name.replace("_", "").isalnum() and name.isascii() else json.dumps(name, ensure_ascii=False)
    )


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(NULL if value is None else value, ensure_ascii=False)
