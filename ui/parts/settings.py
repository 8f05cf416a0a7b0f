"""What a person chose on the page: one frozen value that also keys every cached result."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import vitq_core as vq
from vitq_core import EFFORTS
from vitq_core.experiment import EFFORT_NAMES, MAX_BITS, MIN_BITS, counted, is_name
from vitq_core.experiment.runs import Asked

from . import method_options
from .checks import number_in, one_of, refuse, whole
from .model_list import called, wrong_model

CALIBRATION = 32
MAX_CALIBRATION = 1024
MAX_HELD_OUT = 2000
MAX_SEED = 2**31 - 1
MAX_ITERATIONS = 100_000
NO_EFFORT = "none"
PLACES = ("own", "folder", "uploads", "generated")
ZIP = ".zip"
LONGEST_NAME = 80  # bytes; a file's name may have 255 in all

# On both tabs: how much is learned, and from which pictures.
RUN_FIELDS = ("effort", "iterations", "calibration", "held_out", "seed", "pictures", "folder", "uploads")
# A form has these and the method's own options.
FIELDS = ("model", "recipe", "weight_bits", "act_bits", *RUN_FIELDS)


@dataclass(frozen=True)
class RunSettings:
    """Everything that decides a result; equal settings share one cached result.

    `effort`, `iterations`: of the reconstruction, None: the effort's own. `integer`: by the nearest recipe
    whose every value other programs can compute with integers.
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
    integer: bool = False

    @property
    def bits(self) -> str:
        return "mixed bits" if self.table else f"W{self.weight_bits}/A{self.act_bits}"

    @property
    def title(self) -> str:
        effort = [] if self.effort == NO_EFFORT else [f"{self.effort} effort"]
        own = [said for said, _ in self._unusual]
        return " · ".join([called(self.model), vq.RECIPES[self.recipe].title, self.bits, *effort, *own])

    @property
    def slug(self) -> str:
        bits = "mixed" if self.table else f"w{self.weight_bits}a{self.act_bits}"
        effort = "" if self.effort == NO_EFFORT else f"-{self.effort}"
        own = "".join(f"-{short}" for _, short in self._unusual)
        return f"{called(self.model)}-{self.recipe}-{bits}{effort}{own}".replace("/", "-")

    @property
    def _unusual(self) -> list[tuple[str, str]]:
        """What tells this run from the usual one, as (words of the title, part of a file's name)."""
        found = [("integer form", "integer")] if self.integer else []
        found += [method_options.in_words(name, value) for name, value in self.options]
        if self.iterations is not None:
            found.append((counted(self.iterations, "iteration"), f"iter{self.iterations}"))
        if self.calibration != CALIBRATION:
            found.append((counted(self.calibration, "calibration picture"), f"cal{self.calibration}"))
        if self.seed:
            found.append((f"seed {self.seed}", f"seed{self.seed}"))
        return found + self._others

    @property
    def _others(self) -> list[tuple[str, str]]:
        """The same of the pictures, where they are not built in; never where they lie."""
        if self.pictures == "own":
            return []
        if self.pictures == "generated":
            return [("pictures from noise", "noise")]
        files = (self.folder,) if self.pictures == "folder" else self.uploads
        if self.pictures == "uploads" and not is_zip(files):
            return [(counted(len(files), "own file"), f"{len(files)}files")]
        name = Path(files[0]).name or "own folder"
        stem = name[:-4] if is_zip(files) else name
        return [(name, _in_file_name(stem) or "folder")]

    @property
    def complete(self) -> "RunSettings":
        """Those of the run that was not stopped."""
        return self

    def engine_recipe(self) -> Any:
        bits = {layer: (weight, act) for layer, weight, act in self.table}
        options = {**dict(self.options), "effort": self.effort}
        if self.iterations is not None:
            options["iterations"] = self.iterations
        recipe = vq.recipe(self.recipe, self.weight_bits, self.act_bits, bits, **options)
        return vq.integer_form(recipe) if self.integer else recipe

    def asked(self) -> Asked:
        """What decides a run's numbers, as the engine keeps it."""
        places = (self.folder,) if self.pictures == "folder" else self.uploads
        return Asked(
            self.model,
            self.engine_recipe(),
            self.calibration,
            self.held_out,
            self.seed,
            self.pictures,
            places,
        )


@dataclass(frozen=True)
class StoppedRun(RunSettings):
    """Names the result of a run that was stopped while it learned: `learned` of all `modules` were done."""

    learned: int = 0
    modules: int = 0

    @property
    def title(self) -> str:
        return f"{super().title}, stopped after {self.learned} of {counted(self.modules, 'module')}"

    @property
    def slug(self) -> str:
        return f"{super().slug}-stopped{self.learned}of{self.modules}"

    @property
    def complete(self) -> RunSettings:
        return RunSettings(**{item.name: getattr(self, item.name) for item in fields(RunSettings)})


class PicturesOnly(RunSettings):
    """Names pictures of which nothing is quantized yet."""


def is_zip(files: Sequence[str]) -> bool:
    """Whether these are no pictures but one zip of them."""
    return len(files) == 1 and Path(files[0]).suffix.lower() == ZIP


def _in_file_name(name: str) -> str:
    """`name` without what some system does not take in a file's name, and not too long."""
    plain = re.sub(r"[^\w.]+", "-", name).encode()[:LONGEST_NAME].decode(errors="ignore")
    return plain.strip("-.")


def from_form(values: Mapping[str, Any]) -> RunSettings:
    """The settings that form `values` (keys: FIELDS, options) ask for, without options the recipe lacks.

    Raises ValueError for values with `problems`: a program may call a handler without the form's own check.
    """
    refuse(problems(values))
    return RunSettings(
        model=values["model"],
        recipe=values["recipe"],
        weight_bits=int(values["weight_bits"]),
        act_bits=int(values["act_bits"]),
        options=tuple(sorted(method_options.chosen(values).items())),
        **learning(values),
        **data_of(values),
    )


def data_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Which pictures, and how many. For values without `problems`."""
    counts = {name: int(values[name]) for name in ("calibration", "held_out", "seed")}
    return {**counts, **places(values)}


def learning(values: Mapping[str, Any]) -> dict[str, Any]:
    """How much is learned. Without an effort the number of iterations counts for nothing."""
    effort = effort_of(values)
    iterations = None if effort == NO_EFFORT else number_in(values.get("iterations"))
    return {"effort": effort, "iterations": iterations if iterations is None else int(iterations)}


def effort_of(values: Mapping[str, Any]) -> Any:
    """As it was given; where nothing was, none."""
    given = values.get("effort")
    return NO_EFFORT if given is None else given


def places(values: Mapping[str, Any]) -> dict[str, Any]:
    """Where the pictures come from. What stands in the boxes of an unused place counts for nothing."""
    place = place_of(values)
    if place == "folder":
        return {"pictures": place, "folder": values["folder"].strip()}
    if place == "uploads":
        return {"pictures": place, "uploads": tuple(values["uploads"])}
    return {"pictures": place} if place == "generated" else {}


def place_of(values: Mapping[str, Any]) -> Any:
    """As it was given; where nothing was, the studio's own pictures."""
    given = values.get("pictures")
    return "own" if given is None else given


def problems(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the form's values: {field: a sentence}; empty when they can be run."""
    return _no_room(values) | general_problems(values) | method_options.problems(values)


def general_problems(values: Mapping[str, Any]) -> dict[str, str]:
    """The same without the method's own options."""
    found = {
        "model": wrong_model(values.get("model")),
        "recipe": one_of(values.get("recipe"), method_options.methods()),
        "weight_bits": whole(values.get("weight_bits"), MIN_BITS, MAX_BITS),
        "act_bits": whole(values.get("act_bits"), MIN_BITS, MAX_BITS),
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


def data_problems(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the values that say which model, which pictures and how many."""
    usual = {"recipe": next(iter(vq.RECIPES)), "weight_bits": MAX_BITS, "act_bits": MAX_BITS}
    return general_problems({**values, **usual, "effort": NO_EFFORT, "iterations": None})


def _no_room(values: Mapping[str, Any]) -> dict[str, str]:
    """For the published mixed bits a bit more and a bit less have to be there; a fixed table has its own."""
    if "first_blocks" not in method_options.applied(values.get("recipe")):
        return {}
    if method_options.chosen(values).get("first_blocks") == 0:
        return {}
    method, other = vq.RECIPES[values["recipe"]].title, vq.RECIPES["lrp-budget"].title
    said = (
        f"{method} gives some layers one bit more and others one bit less, so weight and activation bits "
        f"must both be {MIN_BITS + 1} to {MAX_BITS - 1}. The method “{other}” takes any of these numbers."
    )
    at_an_end = [name for name in ("weight_bits", "act_bits") if values.get(name) in (MIN_BITS, MAX_BITS)]
    return dict.fromkeys(at_an_end[:1], said)  # said once


def a_name(model_id: Any) -> str:
    """`model_id`, or a ValueError for what is no text: nothing may be looked up or kept under that."""
    if not isinstance(model_id, str):
        refuse({"model": wrong_model(model_id)})
    return model_id


def _folder(values: Mapping[str, Any]) -> str:
    given = values.get("folder")
    named = isinstance(given, str) and given.strip()
    wanted = is_name(place_of(values), ("folder",))
    return "Name a folder or a .zip of pictures." if wanted and not named else ""


def _uploads(values: Mapping[str, Any]) -> str:
    given = values.get("uploads")
    files = isinstance(given, (list, tuple)) and given and all(isinstance(path, str) for path in given)
    wanted = is_name(place_of(values), ("uploads",))
    if not wanted or not files:
        return "Upload pictures or a .zip first." if wanted else ""
    zips = sum(is_zip([path]) for path in given)
    if zips > 1:
        return "Upload one .zip at a time."
    return "Upload either one .zip or pictures, not both." if zips and len(given) > 1 else ""


def _iterations(values: Mapping[str, Any]) -> str:
    iterations, learns = number_in(values.get("iterations")), is_name(effort_of(values), EFFORTS)
    if not learns or iterations is None or not whole(iterations, 1, MAX_ITERATIONS):
        return ""
    return f"A whole number from 1 to {MAX_ITERATIONS}; leave it empty for automatic."


def _too_few(values: Mapping[str, Any]) -> str:
    effort = effort_of(values)
    needed = EFFORTS[effort].batch_size if is_name(effort, EFFORTS) else 1
    if values["calibration"] >= needed:
        return ""
    return f"{effort.capitalize()} effort learns from {needed} pictures at a time: give at least {needed}."
