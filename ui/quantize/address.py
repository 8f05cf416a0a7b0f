"""What an address asks for: `?run=<id>` a kept run, `?method=adfq&weight_bits=4` a form that is filled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..parts.forms import opening_settings
from ..parts.settings import RunSettings, from_form
from ..parts.stored_outcome import run_settings
from ..parts.visitors import seen_by
from ..workbench import Workbench

RUN = "run"
WORDS = {"model": "model", "method": "recipe"}
NUMBERS = ("weight_bits", "act_bits", "calibration", "held_out", "seed")
NO_RUN = "There is no such run here, or it is somebody else's."


def asked_for(bench: Workbench, given: Mapping[str, Any], owner: str) -> RunSettings | None:
    """The settings that an address's parameters name; None where it names none.

    Raises ValueError for what cannot be: no such run, no such method, bits that are none.
    """
    if RUN in given:
        record = bench.runs.get(str(given[RUN]))
        if record is None or record.owner not in seen_by(owner) or "recipe" not in record.settings:
            raise ValueError(NO_RUN)
        return run_settings(record.settings)
    words = {field: given[word] for word, field in WORDS.items() if word in given}
    numbers = {name: _number(given[name]) for name in NUMBERS if name in given}
    if not words and not numbers:
        return None
    return from_form({**vars(opening_settings()), **words, **numbers})


def _number(text: Any) -> Any:
    """As it was given where it is none: the form says what is wrong with that."""
    try:
        return int(text)
    except (TypeError, ValueError):
        return text
