"""Allocation inside ``quantize``: importance from the calibration pictures, bits around the recipe's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..allocation.allocate import PICTURES, by_budget, by_paper
from ..allocation.budget import Budget
from ..allocation.paper import check_base
from ..allocation.table import BitsTable, check_table
from ..common.arithmetic import plain_arithmetic
from ..common.monitor import Monitor
from ..common.options import check_given, option, switch
from ..data.calibration_set import CalibrationPictures
from ..recipes.recipe import Recipe
from ..recipes.steps import ALLOCATED, add_pass
from ..scoring.memory import at_once
from ..scoring.scores import Tally
from ..scoring.sources import SOURCES, Source
from .base import Run

MOST_BLOCKS = 1000  # more than any model has
BATCH = 16  # pictures that relevance is propagated for at a time


def _source(name: str, value: Any) -> str:
    """The name of a source."""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be the name of a source, got {value!r:.80}")
    SOURCES[value]
    return value


def _count(name: str, value: Any) -> int | None:
    """None, or a whole number; the policy knows how many blocks there are."""
    number = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and not (number and 0 <= value <= MOST_BLOCKS):
        raise ValueError(f"{name} must be a whole number from 0 to {MOST_BLOCKS}, got {value!r:.80}")
    return value


def _titles() -> dict[str, str]:
    """Every source by what people read."""
    return {source.title or name: name for name, source in SOURCES.items()}


# What says where bits matter.
IMPORTANCE = option(
    "relevance", "Layers ranked by", _source, choices=_titles, short="ranked by",
    hint="How it is found out which layers matter.",
)  # fmt: skip


@dataclass(frozen=True)
class BudgetOptions:
    """Of the budget policy."""

    importance: str = IMPORTANCE  # a name of ``vq.SOURCES``

    def __post_init__(self) -> None:
        check_given(self)


@dataclass(frozen=True)
class PaperOptions:
    """Of LRP-QViT's policy."""

    importance: str = IMPORTANCE  # a name of ``vq.SOURCES``
    first_blocks: int | None = option(
        None, "Blocks that get an extra bit", _count, whole=True, short="first blocks",
        hint="Counted from the first one. Automatic: 2.",
    )  # fmt: skip
    reductions: bool = option(True, "Take a bit from the least important layers", switch, short="taking bits")

    def __post_init__(self) -> None:
        check_given(self)


def _check_given(run: Run) -> None:
    """A table of bits, given with the recipe, must be one of all layers."""
    if run.recipe.bits:
        check_table(run.recipe.bits, run.prepared.layers, f"the table of bits for recipe {run.recipe.name!r}")


def _check_paper(run: Run) -> None:
    _check_given(run)
    if not run.recipe.bits and run.options(PaperOptions).first_blocks != 0:
        check_base(_base(run.recipe), "recipe 'lrp-budget'")


def _base(recipe: Recipe) -> tuple[int, int]:
    return recipe.weight_bits, recipe.act_bits


def _no_table(run: Run) -> bool:
    """A table that the user gave, or that was given out before, stays as it is."""
    return not run.recipe.bits


TRAITS = {"gives": (ALLOCATED,), "weight": 6.0, "when": _no_table}


@add_pass("allocate_paper", Options=PaperOptions, check=_check_paper, **TRAITS)
def allocate_by_paper(run: Run) -> None:
    """LRP-QViT's policy around the recipe's weight and activation bits."""
    options = run.options(PaperOptions)

    def give_out(scores: dict[str, float], monitor: Monitor) -> BitsTable:
        return by_paper(scores, run.prepared, _base(run.recipe), options.first_blocks, options.reductions)

    _allocate(run, SOURCES[options.importance], give_out)


@add_pass(
    "allocate_budget", Options=BudgetOptions, check=_check_given, optional="more bits for sensitive layers",
    **TRAITS,
)  # fmt: skip
def allocate_by_budget(run: Run) -> None:
    """The budget policy, with the recipe's weight and activation bits as averages."""
    source = SOURCES[run.options(BudgetOptions).importance]

    def give_out(scores: dict[str, float], monitor: Monitor) -> BitsTable:
        budget = Budget(avg_weight_bits=run.recipe.weight_bits, avg_act_bits=run.recipe.act_bits)
        weights = source.weights(scores, run.prepared.layers)
        pictures = run.pictures.first(PICTURES)
        return by_budget(weights, run.prepared, pictures, run.recipe, budget, monitor)

    _allocate(run, source, give_out)


@plain_arithmetic
def _allocate(
    run: Run, source: type[Source], give_out: Callable[[Mapping[str, float], Monitor], BitsTable]
) -> None:
    """A complete table for the recipe."""
    scores = _scores(source(run.prepared), run.pictures, run.monitor.part(0.0, 0.7))
    run.recipe = replace(run.recipe, bits=give_out(scores, run.monitor.part(0.7, 1.0)))


def _scores(source: Source, pictures: CalibrationPictures, monitor: Monitor) -> dict[str, float]:
    tally = Tally()
    monitor.report(0.0, "Ranking the layers")
    for chunk in pictures:
        for batch in chunk.split(at_once(source.prepared, BATCH)):
            tally.add(source.scores(batch, None))
            monitor.report(tally.pictures / pictures.count, "Ranking the layers")
    return tally.result("", source.prepared.names).layer_scores
