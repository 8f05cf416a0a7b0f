"""What a person chose on the page: one frozen value that also keys every cached result."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import vitq_core as vq
from vitq_core import EFFORTS
from vitq_core.experiment import EFFORT_NAMES, is_name, is_number

CALIBRATION = 32
MAX_CALIBRATION = 1024
MAX_HELD_OUT = 2000
MAX_SEED = 2**31 - 1
PAPERS_FIRST_BLOCKS = 2
MAX_ITERATIONS = 100_000
NO_EFFORT = "none"
MAX_BLOCKS = 1000  # the engine names the model's own number of blocks
LOG_BASES = {"√2": "sqrt2", "2": 2.0}
ALPHA_MODES = ("paper", "alpha", "ratio")
CLIPS = ("auto", "1", "1.5", "2", "3")
THE_PAPERS = "the paper's"
PLACES = ("own", "folder", "uploads")

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
    calibration: int = CALIBRATION
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
        effort = [] if self.effort == NO_EFFORT else [f"{self.effort} effort"]
        own = [said for said, _ in self._unusual]
        return " · ".join([self.model, vq.RECIPES[self.recipe].title, self.bits, *effort, *own])

    @property
    def slug(self) -> str:
        bits = "mixed" if self.table else f"w{self.weight_bits}a{self.act_bits}"
        effort = "" if self.effort == NO_EFFORT else f"-{self.effort}"
        own = "".join(f"-{short}" for _, short in self._unusual)
        return f"{self.model}-{self.recipe}-{bits}{effort}{own}".replace("/", "-")

    @property
    def _unusual(self) -> list[tuple[str, str]]:
        """What tells this run from the usual one, as (words of the title, part of a file's name)."""
        found = [_option_named(name, value) for name, value in self.options]
        if self.iterations is not None:
            found.append((f"{self.iterations} iterations", f"iter{self.iterations}"))
        if self.calibration != CALIBRATION:
            found.append((f"{self.calibration} calibration pictures", f"cal{self.calibration}"))
        if self.seed:
            found.append((f"seed {self.seed}", f"seed{self.seed}"))
        return found

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


def _option_named(name: str, value: Any) -> tuple[str, str]:
    """An option of a recipe as (words of the title, part of a file's name)."""
    shown = f"{value:g}" if is_number(value) else str(value)
    if name == "alpha_ratio":
        return f"{100 * value:g} % outliers", f"outliers{100 * value:g}"
    if name == "collapse":
        return "one scale per layer", "onescale"
    if name == "reductions":
        return "no bits taken", "noreductions"
    if name == "log_base":
        return f"log base {'√2' if value == 'sqrt2' else shown}", f"base{shown}"
    words = {"alpha": "α", "clip_k": "clip", "first_blocks": "first blocks", "importance": "ranked by"}
    return f"{words[name]} {shown}", f"{name.replace('_', '')}{shown}"


def from_form(values: Mapping[str, Any]) -> RunSettings:
    """The settings that form `values` (keys: FIELDS) ask for, without options the recipe lacks.

    Raises ValueError for values with `problems`: a program may call a handler without the form's own check.
    """
    refuse(problems(values))
    applies = vq.RECIPES[values["recipe"]].applies
    options = _options({name: value for name, value in values.items() if _asked(name, applies)})
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


def _asked(field: str, applies: Collection[str]) -> bool:
    """Whether a field of the form means anything for a recipe with these options."""
    return field == "recipe" or field in applies or (field == "alpha_mode" and "alpha" in applies)


def learning(values: Mapping[str, Any]) -> dict[str, Any]:
    """How much is learned. Without an effort the number of iterations counts for nothing."""
    effort = effort_of(values)
    iterations = None if effort == NO_EFFORT else number_in(values.get("iterations"))
    return {"effort": effort, "iterations": iterations if iterations is None else int(iterations)}


def effort_of(values: Mapping[str, Any]) -> Any:
    """As it was given; where nothing was, none."""
    given = values.get("effort")
    return NO_EFFORT if given is None else given


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
    place = place_of(values)
    if place == "folder":
        return {"pictures": place, "folder": values["folder"].strip()}
    return {"pictures": place, "uploads": tuple(values["uploads"])} if place == "uploads" else {}


def place_of(values: Mapping[str, Any]) -> Any:
    """As it was given; where nothing was, the studio's own pictures."""
    given = values.get("pictures")
    return "own" if given is None else given


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
    own = vq.RECIPES[values["recipe"]].options.importance if "importance" in values else None
    if values.get("importance") not in (None, own):
        options["importance"] = values["importance"]
    return options


def problems(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the form's values: {field: a sentence}; empty when they can be run."""
    found = {
        "model": one_of(values.get("model"), [info.id for info in vq.list_models()]),
        "recipe": one_of(values.get("recipe"), vq.RECIPES),
        "weight_bits": whole(values.get("weight_bits"), 2, 8),
        "act_bits": whole(values.get("act_bits"), 2, 8),
        "alpha": _threshold(values),
        "first_blocks": _first_blocks(values),
        **_wrong_choices(values),
        "effort": one_of(effort_of(values), EFFORT_NAMES),
        "iterations": _iterations(values),
        "calibration": whole(values.get("calibration"), 1, MAX_CALIBRATION) or _too_few(values),
        "held_out": whole(values.get("held_out"), 1, MAX_HELD_OUT),
        "seed": whole(values.get("seed"), 0, MAX_SEED),
        "pictures": one_of(place_of(values), PLACES),
        "folder": _folder(values),
        "uploads": _uploads(values),
    }
    return {field: sentence for field, sentence in found.items() if sentence}


def refuse(wrong: Mapping[str, str]) -> None:
    """Raises ValueError, with a sentence for each field, where something is wrong."""
    if wrong:
        raise ValueError(" ".join(f"{field}: {sentence}" for field, sentence in wrong.items()))


def a_name(model_id: Any) -> str:
    """`model_id`, or a ValueError for what is no text: nothing may be looked up or kept under that."""
    if not isinstance(model_id, str):
        refuse({"model": one_of(model_id, [info.id for info in vq.list_models()])})
    return model_id


def one_of(value: Any, known: Iterable[str]) -> str:
    return "" if is_name(value, known) else f"Choose one of {', '.join(known)}."


def yes_or_no(value: Any) -> str:
    return "" if isinstance(value, bool) else "Either yes (true) or no (false)."


def _wrong_choices(values: Mapping[str, Any]) -> dict[str, str]:
    """Of the method's own options, as far as the recipe has them; what is left out is the paper's."""
    checks = {
        "alpha_mode": ("alpha", lambda value: one_of(value, ALPHA_MODES)),
        "clip_k": ("clip_k", lambda value: one_of(value, CLIPS)),
        "collapse": ("collapse", yes_or_no),
        "log_base": ("log_base", lambda value: one_of(value, (THE_PAPERS, *LOG_BASES))),
        "reductions": ("reductions", yes_or_no),
        "importance": ("importance", lambda value: one_of(value, vq.SOURCES)),
    }
    return {
        field: check(values[field])
        for field, (option, check) in checks.items()
        if values.get(field) is not None and _applies(values, option)
    }


def _folder(values: Mapping[str, Any]) -> str:
    given = values.get("folder")
    named = isinstance(given, str) and given.strip()
    wanted = is_name(place_of(values), ("folder",))
    return "Name a folder or a .zip of pictures." if wanted and not named else ""


def _uploads(values: Mapping[str, Any]) -> str:
    given = values.get("uploads")
    files = isinstance(given, (list, tuple)) and given and all(isinstance(path, str) for path in given)
    wanted = is_name(place_of(values), ("uploads",))
    return "Upload pictures or a .zip first." if wanted and not files else ""


def whole(value: Any, low: int, high: int) -> str:
    fits = is_number(value) and value % 1 == 0 and low <= value <= high
    return "" if fits else f"A whole number from {low} to {high}."


def _applies(values: Mapping[str, Any], option: str) -> bool:
    recipe = values.get("recipe")
    return recipe in vq.RECIPES and option in vq.RECIPES[recipe].applies


def _first_blocks(values: Mapping[str, Any]) -> str:
    return whole(values.get("first_blocks"), 0, MAX_BLOCKS) if _applies(values, "first_blocks") else ""


def _iterations(values: Mapping[str, Any]) -> str:
    iterations, learns = number_in(values.get("iterations")), is_name(effort_of(values), EFFORTS)
    if not learns or iterations is None or not whole(iterations, 1, MAX_ITERATIONS):
        return ""
    return f"A whole number from 1 to {MAX_ITERATIONS}, or nothing for the effort's own."


def _too_few(values: Mapping[str, Any]) -> str:
    effort = effort_of(values)
    needed = EFFORTS[effort].batch_size if is_name(effort, EFFORTS) else 1
    if values["calibration"] >= needed:
        return ""
    return f"{effort.capitalize()} effort learns from {needed} pictures at a time: give at least {needed}."


def _threshold(values: Mapping[str, Any]) -> str:
    mode, value = values.get("alpha_mode"), values.get("alpha")
    if not _applies(values, "alpha"):
        return ""
    number = is_number(value)
    if mode == "alpha" and not (number and 0 < value < float("inf")):
        return "Enter a threshold above 0, for example 5."
    if mode == "ratio" and not (number and 0 < value < 50):
        return "Enter a share between 0 and 50 %, for example 0.5."
    return ""
