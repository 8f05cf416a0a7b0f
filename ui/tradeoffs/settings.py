"""What a person chose on this page, checked: the model, and the runs of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import vitq_core as vq
from vitq_core.experiment import MAX_BITS, MIN_BITS

from ..parts import settings
from ..parts.checks import one_of, whole
from ..parts.method_options import methods
from ..parts.model_list import SEGMENTS, task_of
from ..parts.settings import MAX_HELD_OUT
from ..workbench import ANSWERS, MASKS

BITS = (8, 6, 4, 3, 2)
JUDGED = 64  # scenes: Segment Anything is asked for every object


def methods_for(model_id: Any) -> dict[str, vq.Recipe]:
    return methods(task_of(model_id))


def kind_of(model_id: Any) -> str:
    """Of the runs that a sweep makes of this model."""
    return MASKS if task_of(model_id) in SEGMENTS else ANSWERS


def problems(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the values of a sweep, {field: a sentence}."""
    model, bits = values.get("model"), whole(values.get("bits"), MIN_BITS, MAX_BITS)
    named = {"method": one_of(values.get("method"), methods_for(model)), "bits": bits}
    if kind_of(model) == MASKS:
        named["judged"] = whole(values.get("judged"), 1, MAX_HELD_OUT)
    else:
        named |= settings.data_problems(values)
    return {field: sentence for field, sentence in named.items() if sentence}


def data_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a plan says of its pictures, for values without `problems`."""
    if kind_of(values["model"]) == MASKS:
        return {"judged": int(values["judged"])}
    return settings.data_of(values)


def by_bits(values: Mapping[str, Any]) -> list[tuple[str, int]]:
    """(method, bits) of each run of "try all bits", for values without `problems`."""
    return [(values["method"], bits) for bits in BITS]


def by_method(values: Mapping[str, Any]) -> list[tuple[str, int]]:
    """(method, bits) of each run of "compare all methods", for values without `problems`."""
    return [(name, int(values["bits"])) for name in methods_for(values["model"])]
