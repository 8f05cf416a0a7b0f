"""What people want a file for: each a format, by what they take it for."""

from __future__ import annotations

from typing import Any

import vitq_core as vq
from vitq_core.experiment import is_name

from ..parts.checks import one_of

ABSENT = "After that, start the studio again."


def choices() -> list[tuple[str, str]]:
    """(text, format) of every format."""
    return [(_text(each.aim, each.title), name) for name, each in _all()]


def _text(aim: str, title: str) -> str:
    if not aim or title in aim:
        return aim or title
    return f"{aim}: {title}"


def first() -> str:
    """The first format that can be written here, or else the first of all."""
    names = [name for name, each in _all() if not each.absent()]
    return (names or list(vq.EXPORTERS))[0]


def title(name: str) -> str:
    return vq.EXPORTERS[name].title


def sentence(name: Any) -> str:
    """What a format is good for; empty for what is none."""
    return vq.EXPORTERS[name].summary if is_name(name, vq.EXPORTERS) else ""


def problem(name: Any) -> str:
    """Why nothing can be written for this aim on this machine; empty where it can."""
    wrong = one_of(name, vq.EXPORTERS)
    if wrong:
        return wrong
    absent = vq.EXPORTERS[name].absent()
    return f"{absent}. {ABSENT}" if absent else ""


def missing() -> list[str]:
    """A sentence for each format that cannot be written here."""
    return [f"{absent}. {ABSENT}" for _, each in _all() if (absent := each.absent())]


def _all() -> list[tuple[str, Any]]:
    return [(name, vq.EXPORTERS[name]) for name in vq.EXPORTERS]
