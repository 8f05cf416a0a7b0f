"""What a person chose on the relevance page."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import vitq_core as vq
from vitq_core.experiment import MAX_BITS, MIN_BITS, Option, known_options

from ..explaining.scoring import Scoring
from ..parts import method_options, settings
from ..parts.bits_table import BitsTable
from ..parts.checks import one_of, refuse, whole
from ..parts.settings import PicturesOnly, RunSettings

MAX_SCORED = settings.MAX_CALIBRATION
LIMITS = ("avg_weight_bits", "avg_act_bits", "size_mb", "gbops")
POLICIES = {"paper": "As in LRP-QViT", "budget": "Within limits", "uniform": "Same everywhere"}
PAPER = ("first_blocks", "reductions")  # what the pass of that policy takes too
SHARED = ("model", "seed", "pictures", "folder", "uploads")
RUN = (*SHARED, "effort", "iterations", "calibration", "held_out")


def scoring_of(values: Mapping[str, Any]) -> Scoring:
    """From form values. Raises ValueError where they have `score_problems`."""
    refuse(score_problems(values))
    return Scoring(
        model=values["model"],
        importance=values["importance"],
        count=int(values["scored"]),
        seed=int(values["seed"]),
        **settings.places(values),
    )


def score_problems(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the values that decide scores: {field: a sentence}."""
    found = _common(values)
    found["scored"] = whole(values.get("scored"), 1, MAX_SCORED)
    found["importance"] = one_of(values.get("importance"), vq.SOURCES)
    return {field: sentence for field, sentence in found.items() if sentence}


def _common(values: Mapping[str, Any]) -> dict[str, str]:
    wrong = settings.data_problems(values)
    return {field: wrong.get(field, "") for field in SHARED}


def paper_options() -> dict[str, Option]:
    """Those of the paper's policy, which its pass declares."""
    known = known_options()
    return {name: known[name] for name in PAPER}


def bits_problems(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the values that decide the bits; what depends on the model the engine says."""
    found = {name: whole(values.get(name), MIN_BITS, MAX_BITS) for name in ("base_weight", "base_act")}
    found["policy"] = one_of(values.get("policy"), POLICIES)
    if values.get("policy") == "paper":
        found |= {
            name: method_options.wrong(option, values.get(name)) for name, option in paper_options().items()
        }
    if values.get("policy") == "budget":
        found |= {name: _limit(values.get(name)) for name in LIMITS}
        if not any(_text(values.get(name)) for name in LIMITS):
            found["avg_weight_bits"] = "Give at least one limit."
    return {field: sentence for field, sentence in found.items() if sentence}


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _limit(value: Any) -> str:
    """Limits are typed as text: empty means none."""
    try:
        number = float(_text(value) or 1)
    except ValueError:
        number = 0.0
    return "" if isfinite(number) and number > 0 else "A number above 0, or nothing for no limit."


def allocation_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `vq.allocate_bits`. Raises ValueError where the values have `bits_problems`."""
    refuse(bits_problems(values))
    if values["policy"] == "budget":
        limits = {name: float(values[name]) for name in LIMITS if _text(values[name])}
        return {"policy": "budget", **limits}
    base = (int(values["base_weight"]), int(values["base_act"]))
    if values["policy"] == "uniform":
        return {"policy": "paper", "base_bits": base, "first_blocks": 0}
    said = {name: method_options.read(option, values.get(name)) for name, option in paper_options().items()}
    given = {name: value for name, value in said.items() if value is not None}
    return {"policy": "paper", "base_bits": base, **given}


def run_problems(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the values that decide a quantization with a table of bits."""
    found = settings.general_problems({**values, "recipe": values.get("method")})
    named = {"method": found.get("recipe", ""), **{name: found.get(name, "") for name in RUN}}
    return {field: sentence for field, sentence in named.items() if sentence}


def gallery_problems(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the values that say where pictures come from."""
    return {field: sentence for field, sentence in _common(values).items() if sentence}


def gallery_of(values: Mapping[str, Any]) -> PicturesOnly:
    """The pictures to explain before anything is quantized. ValueError for `gallery_problems`."""
    refuse(gallery_problems(values))
    return PicturesOnly(values["model"], next(iter(vq.RECIPES)), **settings.places(values))


def run_of(values: Mapping[str, Any], table: BitsTable) -> RunSettings:
    """From form values and a complete table. Raises ValueError where they have `run_problems`."""
    refuse(run_problems(values))
    rows = tuple((layer, weight, act) for layer, (weight, act) in table.items())
    return RunSettings(
        model=values["model"],
        recipe=values["method"],
        table=rows,
        **settings.learning(values),
        **settings.data_of(values),
    )
