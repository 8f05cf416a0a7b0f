"""Options as their owners declare them: a frozen dataclass, one option a line. Recipes collect them, refuse
what nobody owns, and forms are built from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .checks import check_number

Check = Callable[[str, Any], Any]


@dataclass(frozen=True)
class Option:
    """What there is to know of one option. ``None`` as its value: what the recipe's rules say.

    ``name``: as ``vq.recipe`` takes it; ``argument``: as its owner's constructor takes it. ``check(name,
    value)`` raises ValueError or gives the value as it is used. ``choices``: {what a person reads: value} of
    a form, which may offer fewer values than ``check`` lets pass.
    """

    name: str
    argument: str
    default: Any
    label: str
    check: Check
    choices: Mapping[str, Any] | None = None


def option(
    default: Any,
    label: str,
    check: Check,
    *,
    name: str | None = None,
    choices: Mapping[str, Any] | None = None,
) -> Any:
    """A field of an owner's dataclass. ``name``: where ``vq.recipe`` calls it something else."""
    return field(default=default, metadata={"label": label, "check": check, "name": name, "choices": choices})


def options_of(owner: type) -> dict[str, Option]:
    """{name: option} of the dataclass ``Options`` that a quantizer or a pass carries; none without one."""
    return declared_in(getattr(owner, "Options", None))


def declared_in(declared: type | None) -> dict[str, Option]:
    """{name: option} of such a dataclass."""
    found = {}
    for item in fields(declared) if declared is not None else ():
        name, label, check, choices = (item.metadata[k] for k in ("name", "label", "check", "choices"))
        made = Option(name or item.name, item.name, item.default, label, check, choices)
        found[made.name] = made
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


def switch(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r:.80}")
    return value
