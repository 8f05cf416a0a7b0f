"""What a person chose on this page, checked: the model, and the runs of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import vitq_core as vq
from vitq_core.experiment import MAX_BITS, MIN_BITS

from ..parts.checks import one_of, whole
from ..parts.method_options import methods
from ..parts.model_list import ALL, SEGMENTS, choices, offered
from ..parts.settings import MAX_HELD_OUT
from ..workbench import ANSWERS, MASKS

BITS = (8, 6, 4, 3, 2)
JUDGED = 256
FEWER = 64  # of Segment Anything, which is asked for every object


def models() -> list[tuple[str, str]]:
    """(text, id) of every model, of every task."""
    return choices(ALL)


def task_of(model_id: Any) -> str:
    """Empty for what is no model's id."""
    info = offered(model_id, ALL)
    return "" if info is None else info.task


def methods_for(model_id: Any) -> dict[str, vq.Recipe]:
    return methods(task_of(model_id))


def kind_of(model_id: Any) -> str:
    """Of the runs that a sweep makes of this model."""
    return MASKS if task_of(model_id) in SEGMENTS else ANSWERS


def problems(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the values of a sweep, {field: a sentence}."""
    known = [name for _, name in models()]
    found = {
        "model": one_of(values.get("model"), known),
        "method": one_of(values.get("method"), methods_for(values.get("model"))),
        "bits": whole(values.get("bits"), MIN_BITS, MAX_BITS),
        "judged": whole(values.get("judged"), 1, MAX_HELD_OUT),
    }
    return {field: sentence for field, sentence in found.items() if sentence}


def by_bits(values: Mapping[str, Any]) -> list[tuple[str, int]]:
    """(method, bits) of each run of "try all bits", for values without `problems`."""
    return [(values["method"], bits) for bits in BITS]


def by_method(values: Mapping[str, Any]) -> list[tuple[str, int]]:
    """(method, bits) of each run of "compare all methods", for values without `problems`."""
    return [(name, int(values["bits"])) for name in methods_for(values["model"])]
