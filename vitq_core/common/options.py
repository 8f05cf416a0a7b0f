"""Options as their owners declare them: a frozen dataclass, one option a line. Recipes collect them, refuse
what nobody owns, and forms are built from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from .checks import check_number, is_number

Check = Callable[[str, Any], Any]
Choices = Mapping[str, Any]
Kind = Literal["choice", "switch", "whole", "number"]


@dataclass(frozen=True)
class Option:
    """What there is to know of one option. ``None`` as its value: what the recipe's rules say.

    ``name``: as ``vq.recipe`` takes it; ``argument``: as its owner's constructor takes it. ``check(name,
    value)`` raises ValueError or gives the value as it is used. The rest is for people: ``label`` of a field
    of a form, which an option without one does not get; ``short``: the words for it in a title; ``hint``: a
    sentence beside the field. ``choices``: {what a person reads: value} of a form, which may offer fewer
    values than ``check`` lets pass. ``whole``: its numbers have no fraction.
    """

    name: str
    argument: str
    default: Any
    label: str
    check: Check
    choices: Choices | None = None
    whole: bool = False
    short: str = ""
    hint: str = ""

    @property
    def kind(self) -> Kind:
        """What a form asks for: one of ``choices``, yes or no, a whole number, a number."""
        if self.choices is not None:
            return "choice"
        if isinstance(self.default, bool):
            return "switch"
        return "whole" if self.whole else "number"


def option(
    default: Any,
    label: str,
    check: Check,
    *,
    name: str | None = None,
    choices: Choices | Callable[[], Choices] | None = None,
    whole: bool = False,
    short: str = "",
    hint: str = "",
) -> Any:
    """A field of an owner's dataclass: what :class:`Option` says.

    ``name``: where ``vq.recipe`` calls it something else; ``choices`` may be a function, for those that are
    known later. ``short`` is the label where nothing else is given.
    """
    metadata = {"label": label, "check": check, "name": name, "choices": choices}
    return field(default=default, metadata={**metadata, "whole": whole, "short": short, "hint": hint})


def options_of(owner: type) -> dict[str, Option]:
    """{name: option} of the dataclass ``Options`` that a quantizer or a pass carries; none without one."""
    return declared_in(getattr(owner, "Options", None))


def declared_in(declared: type | None) -> dict[str, Option]:
    """{name: option} of such a dataclass."""
    found = {}
    for item in fields(declared) if declared is not None else ():
        said = dict(item.metadata)
        name, choices = said.pop("name") or item.name, said.pop("choices")
        said["short"] = said["short"] or said["label"]
        choices = choices() if callable(choices) else choices
        found[name] = Option(name, item.name, item.default, choices=choices, **said)
    return found


def check_given(options: Any) -> None:
    """For the ``__post_init__`` of ``Options``: each field not at its default, checked and as it is used."""
    for item in fields(options):
        value, check = getattr(options, item.name), item.metadata["check"]
        if value is not item.default:
            object.__setattr__(options, item.name, check(item.metadata["name"] or item.name, value))


def number(above: float, below: float = float("inf")) -> Check:
    """None, or a number with above < value < below."""

    def check(name: str, value: Any) -> Any:
        check_number(name, value, above=above, below=below)
        return value

    return check


def number_from(least: float) -> Check:
    """None, or a finite number with least ≤ value."""

    def check(name: str, value: Any) -> Any:
        if value is not None and not (is_number(value) and least <= value < float("inf")):
            raise ValueError(f"{name} must be a number of at least {least:g}, got {value!r:.80}")
        return value

    return check


def switch(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r:.80}")
    return value
