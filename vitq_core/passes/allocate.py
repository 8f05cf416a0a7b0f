"""Allocation inside ``quantize``: importance from the calibration pictures, bits around the recipe's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from ..allocation.allocate import by_budget, by_paper, first_pictures
from ..allocation.budget import Budget
from ..allocation.paper import check_base
from ..allocation.table import BitsTable, check_table
from ..common.arithmetic import plain_arithmetic
from ..common.monitor import Monitor
from ..data.calibration_set import CalibrationPictures
from ..graph.prepared import Subject, subject_of
from ..recipes.recipe import Recipe
from ..scoring.scores import Tally
from ..scoring.sources import SOURCES, Source

BATCH = 16  # pictures that relevance is propagated for at a time


def check_given_table(module: nn.Module, recipe: Recipe, pictures: CalibrationPictures) -> None:
    """ValueError for a table of bits, given with the recipe, that is not one of all layers."""
    if recipe.bits:
        layers = subject_of(module, "quantize", pictures.first).layers
        check_table(recipe.bits, layers, f"the table of bits for recipe {recipe.name!r}")


def allocate_by_paper(
    module: nn.Module, recipe: Recipe, pictures: CalibrationPictures, monitor: Monitor
) -> Recipe:
    """LRP-QViT's policy around the recipe's weight and activation bits."""

    options, base = recipe.options, (recipe.weight_bits, recipe.act_bits)
    if not recipe.bits and options.first_blocks != 0:
        check_base(base)  # before the costly part

    def allocate(scores: dict[str, float], subject: Subject, monitor: Monitor) -> BitsTable:
        return by_paper(scores, subject, base, options.first_blocks, options.reductions)

    return _allocated(module, recipe, pictures, monitor, allocate)


def allocate_by_budget(
    module: nn.Module, recipe: Recipe, pictures: CalibrationPictures, monitor: Monitor
) -> Recipe:
    """The budget policy, with the recipe's weight and activation bits as averages."""

    def allocate(scores: dict[str, float], subject: Subject, monitor: Monitor) -> BitsTable:
        budget = Budget(avg_weight_bits=recipe.weight_bits, avg_act_bits=recipe.act_bits)
        weights = SOURCES[recipe.options.importance].weights(scores, subject.layers)
        return by_budget(weights, subject, first_pictures(pictures, subject), recipe, budget, monitor)

    return _allocated(module, recipe, pictures, monitor, allocate)


@plain_arithmetic
def _allocated(
    module: nn.Module,
    recipe: Recipe,
    pictures: CalibrationPictures,
    monitor: Monitor,
    allocate: Callable[[dict[str, float], Subject, Monitor], BitsTable],
) -> Recipe:
    """``recipe`` with a complete table; one that the user gave is taken as it is."""
    if recipe.bits:
        return recipe
    subject = subject_of(module, "quantize", pictures.first)
    source = SOURCES[recipe.options.importance](subject)
    scores = _scores(source, pictures, monitor.part(0.0, 0.7))
    return replace(recipe, bits=allocate(scores, subject, monitor.part(0.7, 1.0)))


def _scores(source: Source, pictures: CalibrationPictures, monitor: Monitor) -> dict[str, float]:
    tally = Tally()
    monitor.report(0.0, "importance of the layers")
    for chunk in pictures:
        for batch in chunk.split(BATCH):
            tally.add(source.scores(batch, None))
            monitor.report(tally.pictures / pictures.count, "importance of the layers")
    return tally.result("", source.subject.names).layer_scores
