"""What a person chose on the Segment page: a frozen value that keys the quantized model it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import vitq_core as vq
from vitq_core.experiment import MAX_BITS, MIN_BITS, counted
from vitq_core.experiment.runs import Asked

from ..parts.checks import one_of, refuse, whole
from ..parts.method_options import methods as recipes_for
from ..parts.model_list import SEGMENTS, choices
from ..parts.settings import MAX_SEED
from .judging import Judging

HALVES = ("encoder", "decoder")
PARTS = {
    "both": {"parts": HALVES},
    "encoder": {"parts": ("encoder",)},
    "decoder": {"parts": ("decoder",)},
    "all": {"parts": HALVES, "heads": 8},
}
IN_WORDS = {
    "both": "Both halves",
    "encoder": "Image encoder",
    "decoder": "Mask decoder",
    "all": "Both, and the heads at 8 bits",
}
UNUSUAL = {"encoder": "encoder only", "decoder": "decoder only", "all": "heads at 8 bits"}
MAX_SCENES = 64
FIELDS = ("model", "recipe", "weight_bits", "act_bits", "parts", "calibration", "seed")
NO_MODEL = "No Segment Anything is bundled with this studio yet, so there is nothing to point with."
NO_METHOD = "This studio has no method for Segment Anything yet, so both models cannot be compared."


@dataclass(frozen=True)
class SamSettings:
    """Everything that decides a quantized model. `parts`: a key of `PARTS`; `calibration`: scenes; `integer`:
    by the nearest recipe whose every value other programs can compute with integers."""

    model: str
    recipe: str
    weight_bits: int = 6
    act_bits: int = 6
    parts: str = "both"
    calibration: int = 8
    seed: int = 0
    integer: bool = False

    @property
    def bits(self) -> str:
        return f"W{self.weight_bits}/A{self.act_bits}"

    @property
    def title(self) -> str:
        """Names what differs from the usual run too."""
        unusual = ["integer form"] if self.integer else []
        unusual += [UNUSUAL[self.parts]] if self.parts in UNUSUAL else []
        if self.calibration != SamSettings.calibration:
            unusual.append(counted(self.calibration, "calibration scene"))
        if self.seed:
            unusual.append(f"seed {self.seed}")
        return " · ".join([self.model, vq.RECIPES[self.recipe].title, self.bits, *unusual])

    @property
    def slug(self) -> str:
        form = "-integer" if self.integer else ""
        name = f"{self.model}-{self.recipe}-w{self.weight_bits}a{self.act_bits}-{self.parts}{form}"
        return name.replace("/", "-")

    def engine_recipe(self) -> Any:
        """Nothing is learned: that would take many more scenes, and minutes for every block."""
        recipe = vq.recipe(self.recipe, self.weight_bits, self.act_bits, effort="none", **PARTS[self.parts])
        return vq.integer_form(recipe) if self.integer else recipe

    def asked(self, judging: Judging) -> Asked:
        """What decides the numbers of a run that is judged so."""
        return Asked(
            self.model, self.engine_recipe(), self.calibration, judging.count, self.seed, judging.pictures,
            (judging.file,) if judging.file else (),
        )  # fmt: skip


def models() -> list[tuple[str, str]]:
    """(text, id) of every Segment Anything, bundled ones first."""
    return choices(SEGMENTS)


def methods() -> list[tuple[str, str]]:
    """(text, name) of the recipes, those made for Segment Anything first."""
    known = recipes_for(*SEGMENTS)
    return [(known[name].title, name) for name in sorted(known, key=lambda name: not known[name].made_for)]


def problems(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with a form's values: {field: a sentence}; empty when they can be run."""
    found = {
        "model": one_of(values.get("model"), [name for _, name in models()]) if models() else NO_MODEL,
        "recipe": one_of(values.get("recipe"), [name for _, name in methods()]) if methods() else NO_METHOD,
        "weight_bits": whole(values.get("weight_bits"), MIN_BITS, MAX_BITS),
        "act_bits": whole(values.get("act_bits"), MIN_BITS, MAX_BITS),
        "parts": one_of(values.get("parts"), PARTS),
        "calibration": whole(values.get("calibration"), 1, MAX_SCENES),
        "seed": whole(values.get("seed"), 0, MAX_SEED),
    }
    return {field: sentence for field, sentence in found.items() if sentence}


def from_form(values: Mapping[str, Any]) -> SamSettings:
    """The settings that a form's values (keys: FIELDS) ask for; ValueError for those with `problems`."""
    refuse(problems(values))
    numbers = {name: int(values[name]) for name in ("weight_bits", "act_bits", "calibration", "seed")}
    return SamSettings(values["model"], values["recipe"], parts=values["parts"], **numbers)
