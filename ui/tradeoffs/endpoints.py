"""What programs may call: runs that the server makes by itself, and what is known of those that are made.

A long job is begun by one call, asked after by another and fetched by a third, so that none waits for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from vitq_core.experiment import is_number
from vitq_core.experiment.runs import RUNNING, Plan, RunRecord, quality_of

from ..explaining.affording import prediction_for
from ..explaining.scoring import Scoring
from ..learning.effort import pictures_for
from ..parts.checks import refuse
from ..parts.forms import first_recipe
from ..parts.model_list import wrong_model
from ..parts.settings import NO_EFFORT, RunSettings, from_form
from ..parts.visitors import NOBODY, is_token, new_token, owner_of, public
from ..running.programs import AT_ONCE, PUBLIC, or_error
from ..running.sweeps import Sweep
from ..workbench import MASKS, Workbench, planned
from . import settings
from .afford_section import learned_from
from .points import comparable, points_of
from .runs_section import IN_SWEEPS

MOST_SWEEPS = 8  # under way or waiting, of everybody
MOST_SHOWN = 100
NO_SWEEP = "sweep: There is no such sweep of yours that this server still knows; finished runs are in `runs`."
NO_RUN = "run: There is no such run of yours."
ONE_AT_A_TIME = "One sweep at a time: stop the one that is under way first, by `stop_sweep`."
TOO_MANY = "The server has many sweeps to make already; ask again later."
NOT_LEARNED = "effort: Segment Anything is not fine-tuned in sweeps; leave it at none."
ONE_LIMIT = "Give either size_mb or points, a number from 0 on."


def add_endpoints(bench: Workbench) -> None:
    """Adds them to the Blocks being built."""
    for make in (_start_sweep, _sweep_state, _stop_sweep, _go_on_with_sweep, _runs, _run_details):
        endpoint = make(bench)
        gr.api(endpoint, api_name=endpoint.__name__, **AT_ONCE)
    gr.api(_forecast(bench), api_name="forecast", **PUBLIC)


def _start_sweep(bench: Workbench) -> Callable[..., dict]:
    def start_sweep(
        model: str = "demo-vit",
        recipes: list[str] | None = None,
        bits: list[int] | None = None,
        judged: int | None = None,
        effort: str = NO_EFFORT,
        visitor: str = "",
    ) -> dict:
        """Begin runs of a model, each method with each number of bits. `sweep_state` says how far they are.

        It answers at once; the server makes them behind everything else. `visitor` comes back: on a public
        server runs are kept for whoever shows it again.

        Args:
            model: the id of a model of `list_models`, Segment Anything too
            recipes: names of methods of `list_recipes`, null for the studio's own
            bits: numbers of bits of weights and activations, each from 2 to 8, null for 8, 6, 4, 3 and 2
            judged: pictures to test on, null for 256, or 64 scenes for Segment Anything
            effort: how much is learned after calibrating, one of none, quick, standard and paper
            visitor: what an earlier call gave back; empty for somebody new
        """
        return or_error(lambda: _started(bench, model, recipes, bits, judged, effort, visitor))

    return start_sweep


def _started(
    bench: Workbench, model: Any, recipes: Any, bits: Any, judged: Any, effort: Any, visitor: Any
) -> dict:
    model = bench.named(model)
    recipes = [first_recipe()] if recipes is None else _some(recipes, "recipes")
    bits = list(settings.BITS) if bits is None else _some(bits, "bits")
    wanted = [_wanted(bench, model, recipe, each, judged, effort) for recipe in recipes for each in bits]
    visitor = new_token() if public() and not is_token(visitor) else visitor
    owner, sweeps = owner_of(visitor), bench.sweeps
    before = sweeps.newest(owner, IN_SWEEPS)
    if before is not None and before.state == RUNNING:
        raise ValueError(ONE_AT_A_TIME)
    if sweeps.under_way() >= MOST_SWEEPS:
        raise ValueError(TOO_MANY)
    title = f"{len(wanted)} runs of {model}" if len(wanted) > 1 else wanted[0]["title"]
    plan = sweeps.start(Plan(title, tuple(wanted), owner))
    return {"sweep": plan, "visitor": visitor, "runs": [each["title"] for each in wanted]}


def _some(given: Any, name: str) -> list[Any]:
    """Each once. ValueError for what is no list of names or numbers."""
    if not isinstance(given, list) or not given or not all(isinstance(each, (str, int)) for each in given):
        raise ValueError(f"{name}: Give a list with at least one entry, or leave it out.")
    return list(dict.fromkeys(given))


def _wanted(
    bench: Workbench, model: Any, recipe: Any, bits: Any, judged: Any, effort: Any
) -> Mapping[str, Any]:
    """One run as plans have it. ValueError for what cannot be."""
    kind = settings.kind_of(model)
    if judged is None:
        judged = settings.JUDGED if kind == MASKS else RunSettings.held_out
    counts = {"calibration": pictures_for(effort), "held_out": judged, "seed": 0}
    wrong = settings.problems(
        {"model": model, "method": recipe, "bits": bits, "effort": effort, "judged": judged, **counts}
    )
    refuse({"judged" if name == "held_out" else name: said for name, said in wrong.items()})
    if kind == MASKS:
        if effort != NO_EFFORT:
            raise ValueError(NOT_LEARNED)
        return bench.kinds[kind].plan(model, recipe, int(bits), judged=int(judged))
    values = {"model": model, "recipe": recipe, "weight_bits": bits, "act_bits": bits, "effort": effort}
    return planned(from_form({**values, **counts}))


def _sweep_state(bench: Workbench) -> Callable[..., dict]:
    def sweep_state(sweep: str, visitor: str = "") -> dict:
        """How far a sweep is: its `state` (running, stopped or done), how many runs are there, what failed.

        Args:
            sweep: what `start_sweep` called it
            visitor: what `start_sweep` gave back with it
        """
        return or_error(lambda: _told(_own(bench, sweep, visitor)))

    return sweep_state


def _stop_sweep(bench: Workbench) -> Callable[..., dict]:
    def stop_sweep(sweep: str, visitor: str = "") -> dict:
        """End a sweep: the run under way is dropped, what is made stays. Answers as `sweep_state` does.

        Args:
            sweep: what `start_sweep` called it
            visitor: what `start_sweep` gave back with it
        """

        def stopped() -> dict:
            own = _own(bench, sweep, visitor)
            bench.sweeps.stop(own.plan.id)
            return _told(own)

        return or_error(stopped)

    return stop_sweep


def _go_on_with_sweep(bench: Workbench) -> Callable[..., dict]:
    def go_on_with_sweep(sweep: str, visitor: str = "") -> dict:
        """Make what is missing of a sweep that was stopped. Answers as `sweep_state` does.

        Args:
            sweep: what `start_sweep` called it
            visitor: what `start_sweep` gave back with it
        """

        def going_on() -> dict:
            bench.sweeps.go_on(_own(bench, sweep, visitor).plan.id)
            return _told(_own(bench, sweep, visitor))

        return or_error(going_on)

    return go_on_with_sweep


def _own(bench: Workbench, sweep_id: Any, visitor: Any) -> Sweep:
    """ValueError for a sweep that is none of this visitor's."""
    sweep = bench.sweeps.sweep(sweep_id) if isinstance(sweep_id, str) else None
    owner = owner_of(visitor)
    if sweep is None or owner == NOBODY or sweep.plan.owner != owner:
        raise ValueError(NO_SWEEP)
    return sweep


def _told(sweep: Sweep) -> dict:
    running = sweep.state == RUNNING
    now = sweep.plan.wanted[min(sweep.ended, sweep.total - 1)].get("title", "")
    return {
        "sweep": sweep.plan.id,
        "title": sweep.plan.title,
        "state": sweep.state,
        "total": sweep.total,
        "done": sweep.done,
        "failed": [{"run": wanted.get("title", ""), "error": said} for wanted, said in sweep.failed],
        "now": {"run": now, "share": sweep.share, "said": sweep.said} if running else None,
    }


def _runs(bench: Workbench) -> Callable[..., list[dict]]:
    def runs(model: str = "", visitor: str = "") -> list[dict]:
        """What is known of runs, newest first, at most 100: quality, points lost, size, arithmetic, seconds.

        Args:
            model: the id of a model of `list_models`; empty for every model
            visitor: what `start_sweep` gave back, on a public server
        """
        return or_error(lambda: _listed(bench, model, visitor))

    return runs


def _listed(bench: Workbench, model: Any, visitor: Any) -> list[dict]:
    own = bench.runs_of(owner_of(visitor))
    return [_short(record) for record in own if model in ("", record.model)][:MOST_SHOWN]


def _short(record: RunRecord) -> dict:
    recipe, quality = record.asked.recipe, quality_of(record.task, record.results)
    good = {"value": quality.value, "error": quality.error, "lost": quality.lost} if quality else {}
    return {
        "id": record.id,
        "name": record.name,
        "model": record.model,
        "recipe": recipe.name,
        "weight_bits": recipe.weight_bits,
        "act_bits": recipe.act_bits,
        "quality": {"name": quality.name, **good} if quality else None,
        "size_mb": record.results["size_mb"],
        "gbops": record.results["gbops"],
        "seconds": dict(record.seconds),
        "made": record.made,
    }


def _run_details(bench: Workbench) -> Callable[..., dict]:
    def run_details(run: str, visitor: str = "") -> dict:
        """One run in full: everything that was measured, the bits of every layer, what it was made of.

        Args:
            run: its id, as `runs` gives it
            visitor: what `start_sweep` gave back, on a public server
        """
        return or_error(lambda: _whole(bench, run, visitor))

    return run_details


def _whole(bench: Workbench, run_id: Any, visitor: Any) -> dict:
    record = bench.run(run_id, owner_of(visitor))
    if record is None:
        raise ValueError(NO_RUN)
    asked = record.asked  # without where a visitor's pictures lie on this machine
    counts = {"calibration": asked.calibration, "judged": asked.judged, "seed": asked.seed}
    return {**_short(record), **counts, "results": dict(record.results), "made_of": dict(record.made_of)}


def _forecast(bench: Workbench) -> Callable[..., dict]:
    def forecast(
        model: str = "demo-vit",
        size_mb: float | None = None,
        points: float | None = None,
        visitor: str = "",
    ) -> dict:
        """Bits for every layer within a size or a loss that one can afford, and what they will cost and lose.

        What they lose is predicted from runs of this model and null where these are too few: `start_sweep`
        makes some. Measuring a model takes seconds, once.

        Args:
            model: the id of a model of `list_models`, of another task than segmentation
            size_mb: how large the file may be, in 10⁶ bytes, null where points are given
            points: how many points of quality may be lost, null where a size is given
            visitor: what `start_sweep` gave back, on a public server
        """
        return or_error(lambda: _afforded(bench, model, size_mb, points, visitor))

    return forecast


def _afforded(bench: Workbench, model: Any, size_mb: Any, points: Any, visitor: Any) -> dict:
    model = bench.named(model)
    refuse({"model": wrong} if (wrong := wrong_model(model)) else {})
    limits = [each for each in (size_mb, points) if each is not None]
    if len(limits) != 1 or not is_number(limits[0]) or not 0 <= limits[0] < math.inf:
        raise ValueError(ONE_LIMIT)
    affording, scoring = bench.affording, Scoring(model)
    measured = affording.measure(scoring)
    known = comparable(points_of(bench.runs_of(owner_of(visitor)), model))
    predicted = prediction_for(measured, learned_from(known))
    if size_mb is None and predicted is None:
        raise ValueError(f"points: Nothing can be predicted from so few runs of {model}; make some first.")
    found = (
        affording.for_loss(scoring, float(points), predicted)
        if size_mb is None
        else affording.for_size(scoring, float(size_mb))
    )
    lost = None if predicted is None else predicted.points(found.harm)
    return {
        "bits": found.table,
        "cost": vars(found.cost),
        "lost": lost,
        "error": None if predicted is None else predicted.error,
    }
