"""Options as their owners declare them: a frozen dataclass, one option a line. Recipes collect them, refuse
what nobody owns, and forms are built from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from .checks import check_choice, check_number, is_number

Check = Callable[[str, Any], Any]
MOST = 2**63 - 1
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

    def in_words(self, value: Any) -> str:
        """For a title: what is said where it is set to ``value``."""
        if self.kind == "switch":
            return self.short if value else f"without {self.short}"
        read_as = {stands_for: words for words, stands_for in (self.choices or {}).items()}
        return f"{self.short or self.name} {read_as.get(value, plainly(value))}"


def plainly(value: Any) -> str:
    """Numbers as short as they can be, everything else as it is."""
    return f"{value:g}" if is_number(value) else str(value)


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


def whole(least: int, most: int = MOST) -> Check:
    """A whole number with least ≤ value ≤ most."""
    limits = f"of at least {least}" if most == MOST else f"from {least} to {most}"

    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"{name} must be a whole number {limits}, got {value!r:.80}")
        return value

    return check


def optional(check: Check) -> Check:
    """None, or what ``check`` lets pass."""
    return lambda name, value: None if value is None else check(name, value)


def one_of(choices: Sequence[str]) -> Check:
    """One of these names."""

    def check(name: str, value: Any) -> str:
        check_choice(name, value, tuple(choices))
        return value

    return check
