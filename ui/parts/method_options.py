"""A method's own options as the quantizers and passes declare them: read from a form, checked, in words.

A form has a field for every option with a label. A field that says nothing, or AUTOMATIC, leaves it to the
method.
"""

from collections.abc import Mapping
from typing import Any

import vitq_core as vq
from vitq_core.experiment import Option, is_name, is_number, known_options, plainly

from .checks import number_in, one_of

AUTOMATIC = "automatic"


def methods(task: str = "") -> dict[str, vq.Recipe]:
    """{name: recipe} of those for every task, and of those made for this one."""
    return {name: recipe for name, recipe in vq.RECIPES.items() if recipe.suits(task)}


def shown_options() -> dict[str, Option]:
    """{name: option} of those that a form has a field for: labelled, and of use in a method."""
    known = known_options().items()
    return {name: option for name, option in known if option.label and methods_with(name)}


def applied(recipe: Any) -> dict[str, Option]:
    """Those that do something in this method; none for what is no method's name."""
    applies = vq.RECIPES[recipe].applies if recipe in vq.RECIPES else ()
    return {name: option for name, option in shown_options().items() if name in applies}


def methods_with(name: str) -> list[str]:
    """The titles of the methods in which an option does something."""
    return [recipe.title for recipe in methods().values() if name in recipe.applies]


def read(option: Option, said: Any) -> Any:
    """The value that a field says, None where it says nothing; what cannot be meant as it is."""
    if option.kind == "choice":
        if is_name(said, (AUTOMATIC,)):
            return None
        return option.choices[said] if is_name(said, option.choices) else number_in(said, float)
    if option.kind == "switch":
        return said
    number = number_in(said, int if option.kind == "whole" else float)
    return float(number) if option.kind == "number" and is_number(number) else number


def said_as(option: Option, value: Any) -> Any:
    """What the field of an option says for a value, so that `read` gives that again."""
    if option.kind == "switch":
        return value
    for label, stands_for in (option.choices or {}).items():
        if stands_for == value:
            return label
    return f"{value:.12g}" if is_number(value) else str(value)


def takes_numbers(option: Option) -> bool:
    """Whether a number that is none of its choices may be one."""
    return any(is_number(value) for value in (option.choices or {}).values())


def wrong(option: Option, said: Any) -> str:
    """What its owner says against the value of a field; empty for none."""
    value = read(option, said)
    if value is None:
        return ""
    if option.kind == "choice" and not (takes_numbers(option) and is_number(value)):
        refused = one_of(said, (AUTOMATIC, *option.choices))
        return f"{refused[:-1]}, or type a number." if refused and takes_numbers(option) else refused
    try:
        option.check("it", value)
    except ValueError as error:
        return sentence(error)
    return ""


def sentence(error: Exception) -> str:
    said = str(error)
    return f"{said[:1].upper()}{said[1:]}."


def chosen(values: Mapping[str, Any]) -> dict[str, Any]:
    """{option: value} where form `values` ask for something else than their method does anyway."""
    recipe = values.get("recipe")
    given = {name: read(option, values.get(name)) for name, option in applied(recipe).items()}
    own = vq.RECIPES[recipe].options if given else None
    return {name: value for name, value in given.items() if value is not None and value != getattr(own, name)}


def problems(values: Mapping[str, Any]) -> dict[str, str]:
    """{option: what is wrong with it}, as far as the method has it. Options that contradict each other are
    said at the last of them.
    """
    found = {name: wrong(option, values.get(name)) for name, option in applied(values.get("recipe")).items()}
    found = {name: said for name, said in found.items() if said}
    options = {} if found else chosen(values)
    if options:
        try:
            vq.recipe(values["recipe"], **options)
        except ValueError as error:
            return {list(options)[-1]: sentence(error)}
    return found


def in_words(name: str, value: Any) -> tuple[str, str]:
    """An option that was set as (words of a title, part of a file's name)."""
    option, part = known_options()[name], name.replace("_", "")
    if option.kind == "switch":
        return option.in_words(value), part if value else f"no{part}"
    return option.in_words(value), f"{part}{plainly(value)}"
