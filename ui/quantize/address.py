"""What an address asks for: `?run=<id>` a run, kept or under way, `?method=adfq` a filled form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..parts.forms import opening_settings
from ..parts.settings import RunSettings, from_form
from ..parts.stored_outcome import run_settings
from ..parts.visitors import seen_by
from ..workbench import Reached, Workbench

RUN = "run"
WORDS = {"model": "model", "method": "recipe"}
NUMBERS = ("weight_bits", "act_bits", "calibration", "held_out", "seed")
NO_RUN = "There is no such run here, or it is somebody else's."


def asked_for(bench: Workbench, given: Mapping[str, Any], owner: str) -> RunSettings | None:
    """The settings that an address's parameters name; None where it names none.

    Raises ValueError for what cannot be: no such run, no such method, bits that are none.
    """
    if RUN in given:
        return _settings_of(bench, str(given[RUN]), owner)
    words = {field: given[word] for word, field in WORDS.items() if word in given}
    numbers = {name: _number(given[name]) for name in NUMBERS if name in given}
    if not words and not numbers:
        return None
    return from_form({**vars(opening_settings()), **words, **numbers})


def _settings_of(bench: Workbench, run_id: str, owner: str) -> RunSettings:
    """Of a kept run, or of one that the server was asked for. ValueError where this owner has no such."""
    record, plan = bench.run(run_id, owner), bench.sweeps.plans.get(run_id)
    if record is None and (plan is None or plan.owner not in seen_by(owner)):
        raise ValueError(NO_RUN)
    sweep = bench.sweeps.sweep(run_id)
    if sweep is not None and sweep.made and isinstance(sweep.made[-1], Reached):
        return sweep.made[-1].settings
    kept = record.settings if record else plan.wanted[0].get("settings", {})
    if "recipe" not in kept or "parts" in kept:
        raise ValueError(NO_RUN)
    return run_settings(kept)


def _number(text: Any) -> Any:
    """As it was given where it is none: the form says what is wrong with that."""
    try:
        return int(text)
    except (TypeError, ValueError):
        return text
