"""What a person chose on the page: one frozen value that also keys every cached result."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import vitq_core as vq
from vitq_core.recipes.schedule import EFFORT_NAMES, EFFORTS

MAX_CALIBRATION = 1024
MAX_HELD_OUT = 2000
MAX_SEED = 2**31 - 1
PAPERS_FIRST_BLOCKS = 2
MAX_ITERATIONS = 100_000
NO_EFFORT = "none"
MAX_BLOCKS = 1000  # the engine names the model's own number of blocks
LOG_BASES = {"√2": "sqrt2", "2": 2.0}

# On both tabs: how much is learned, and from which pictures.
RUN_FIELDS = ("effort", "iterations", "calibration", "held_out", "seed", "pictures", "folder", "uploads")
FIELDS = (
    "model",
    "recipe",
    "weight_bits",
    "act_bits",
    "alpha_mode",
    "alpha",
    "clip_k",
    "collapse",
    "log_base",
    "first_blocks",
    "reductions",
    "importance",
    *RUN_FIELDS,
)


@dataclass(frozen=True)
class RunSettings:
    """Everything that decides a result; equal settings share one cached result.

    `effort`, `iterations`: of the reconstruction, None: the effort's own. `learned`: where it was stopped
    before its end, (modules done, modules in all).
    """

    model: str
    recipe: str
    weight_bits: int = 4
    act_bits: int = 4
    options: tuple[tuple[str, Any], ...] = ()
    calibration: int = 32
    held_out: int = 256
    seed: int = 0
    pictures: str = "own"
    folder: str = ""
    uploads: tuple[str, ...] = ()
    table: tuple[tuple[str, int | None, int], ...] = ()  # (layer, weight bits, activation bits), or uniform
    effort: str = NO_EFFORT
    iterations: int | None = None
    learned: tuple[int, int] | None = None

    @property
    def bits(self) -> str:
        return "mixed bits" if self.table else f"W{self.weight_bits}/A{self.act_bits}"

    @property
    def title(self) -> str:
        effort = "" if self.effort == NO_EFFORT else f" · {self.effort} effort"
        return f"{self.model} · {vq.RECIPES[self.recipe].title} · {self.bits}{effort}"

    @property
    def slug(self) -> str:
        bits = "mixed" if self.table else f"w{self.weight_bits}a{self.act_bits}"
        effort = "" if self.effort == NO_EFFORT else f"-{self.effort}"
        return f"{self.model}-{self.recipe}-{bits}{effort}".replace("/", "-")

    @property
    def complete(self) -> "RunSettings":
        """Those of the run that was not stopped."""
        return replace(self, learned=None)

    def engine_recipe(self) -> Any:
        bits = {layer: (weight, act) for layer, weight, act in self.table}
        options = {**dict(self.options), "effort": self.effort}
        if self.iterations is not None:
            options["iterations"] = self.iterations
        return vq.recipe(self.recipe, self.weight_bits, self.act_bits, bits, **options)


def from_form(values: Mapping[str, Any]) -> RunSettings:
    """The settings that valid form `values` (keys: FIELDS) ask for, without options the recipe lacks."""
    applies = vq.RECIPES[values["recipe"]].applies
    options = {name: value for name, value in _options(values).items() if name in applies}
    return RunSettings(
        model=values["model"],
        recipe=values["recipe"],
        weight_bits=int(values["weight_bits"]),
        act_bits=int(values["act_bits"]),
        options=tuple(sorted(options.items())),
        calibration=int(values["calibration"]),
        held_out=int(values["held_out"]),
        seed=int(values["seed"]),
        **learning(values),
        **places(values),
    )


def learning(values: Mapping[str, Any]) -> dict[str, Any]:
    """How much is learned. Without an effort the number of iterations counts for nothing."""
    effort = effort_of(values)
    iterations = None if effort == NO_EFFORT else number_in(values.get("iterations"))
    return {"effort": effort, "iterations": iterations if iterations is None else int(iterations)}


def effort_of(values: Mapping[str, Any]) -> str:
    return values.get("effort") or NO_EFFORT


def number_in(text: Any) -> Any:
    """The whole number that is typed as text, where nothing (None) has a meaning; what is none as it is."""
    if not isinstance(text, str):
        return text
    try:
        return int(text) if text.strip() else None
    except ValueError:
        return text


def places(values: Mapping[str, Any]) -> dict[str, Any]:
    """Where the pictures come from. What stands in the boxes of an unused place counts for nothing."""
    place = values.get("pictures") or "own"
    if place == "folder":
        return {"pictures": place, "folder": values["folder"].strip()}
    return {"pictures": place, "uploads": tuple(values["uploads"])} if place == "uploads" else {}


def _options(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the person set; the paper's defaults are asked for by saying nothing."""
    options: dict[str, Any] = {}
    if values.get("alpha_mode") == "alpha":
        options["alpha"] = float(values["alpha"])
    if values.get("alpha_mode") == "ratio":
        options["alpha_ratio"] = float(values["alpha"]) / 100
    if values.get("clip_k") not in (None, "auto"):
        options["clip_k"] = float(values["clip_k"])
    if values.get("collapse"):
        options["collapse"] = True
    if values.get("log_base") in LOG_BASES:
        options["log_base"] = LOG_BASES[values["log_base"]]
    return options | _allocation(values)


def _allocation(values: Mapping[str, Any]) -> dict[str, Any]:
    """LRP-QViT's options, where they are not the paper's."""
    options: dict[str, Any] = {}
    if values.get("first_blocks") not in (None, PAPERS_FIRST_BLOCKS):
        options["first_blocks"] = int(values["first_blocks"])
    if values.get("reductions") is False:
        options["reductions"] = False
    if values.get("importance") not in (None, vq.RECIPES[values["recipe"]].options.importance):
        options["importance"] = values["importance"]
    return options


def problems(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the form's values: {field: a sentence}; empty when they can be run."""
    found = {
        "model": one_of(values.get("model"), [info.id for info in vq.list_models()]),
        "recipe": one_of(values.get("recipe"), list(vq.RECIPES)),
        "weight_bits": whole(values.get("weight_bits"), 2, 8),
        "act_bits": whole(values.get("act_bits"), 2, 8),
        "alpha": _threshold(values),
        "first_blocks": _first_blocks(values),
        "effort": one_of(effort_of(values), list(EFFORT_NAMES)),
        "iterations": _iterations(values),
        "calibration": whole(values.get("calibration"), 1, MAX_CALIBRATION) or _too_few(values),
        "held_out": whole(values.get("held_out"), 1, MAX_HELD_OUT),
        "seed": whole(values.get("seed"), 0, MAX_SEED),
        "folder": "Name a folder or a .zip of pictures." if _lacks(values, "folder") else "",
        "uploads": "Upload pictures or a .zip first." if _lacks(values, "uploads") else "",
    }
    return {field: sentence for field, sentence in found.items() if sentence}


def one_of(value: Any, known: list[str]) -> str:
    return "" if value in known else f"Choose one of {', '.join(known)}."


def _lacks(values: Mapping[str, Any], place: str) -> bool:
    given = values.get(place)
    return values.get("pictures") == place and not (given.strip() if isinstance(given, str) else given)


def whole(value: Any, low: int, high: int) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return (
        "" if number and value % 1 == 0 and low <= value <= high else f"A whole number from {low} to {high}."
    )


def _applies(values: Mapping[str, Any], option: str) -> bool:
    recipe = values.get("recipe")
    return recipe in vq.RECIPES and option in vq.RECIPES[recipe].applies


def _first_blocks(values: Mapping[str, Any]) -> str:
    return whole(values.get("first_blocks"), 0, MAX_BLOCKS) if _applies(values, "first_blocks") else ""


def _iterations(values: Mapping[str, Any]) -> str:
    iterations = number_in(values.get("iterations"))
    if effort_of(values) not in EFFORTS or iterations is None or not whole(iterations, 1, MAX_ITERATIONS):
        return ""
    return f"A whole number from 1 to {MAX_ITERATIONS}, or nothing for the effort's own."


def _too_few(values: Mapping[str, Any]) -> str:
    effort = effort_of(values)
    needed = EFFORTS[effort].batch_size if effort in EFFORTS else 1
    if values["calibration"] >= needed:
        return ""
    return f"{effort.capitalize()} effort learns from {needed} pictures at a time: give at least {needed}."


def _threshold(values: Mapping[str, Any]) -> str:
    mode, value = values.get("alpha_mode"), values.get("alpha")
    if not _applies(values, "alpha"):
        return ""
    if mode == "alpha" and not (isinstance(value, (int, float)) and value > 0):
        return "Enter a threshold above 0, for example 5."
    if mode == "ratio" and not (isinstance(value, (int, float)) and 0 < value < 50):
        return "Enter a share between 0 and 50 %, for example 0.5."
    return ""
