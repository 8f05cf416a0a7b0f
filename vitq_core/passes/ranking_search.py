"""Ranking-aware calibration (Liu et al., arXiv 2106.14156): scales by the correlation of the layer's output
with the one in full precision, of attention scores also by their order; then biases take the mean error out.

No code was published. Layers are searched on what reaches them in full precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ..common.arithmetic import plain_arithmetic
from ..common.options import one_of, option, whole
from ..data.store import Scratch
from ..quantizers.kernels.scaled import COUNT
from ..recipes.steps import CALIBRATED, FLOAT, add_pass
from .base import Run
from .calibrate import PartOptions
from .hessian_search import HALF, SCALES_TRIED, report, show_weight
from .search.gathering import gathered, groups_of_layers
from .search.layer import SearchedLayer, proposed
from .search.product import Calls
from .search.ranking import RankingSearch, corrected, correction, pictures_of

FIRST, LAST, ROUNDS = 0.5, 1.2, 20


@dataclass(frozen=True)
class RankingOptions(PartOptions):
    """Of the pass."""

    ranking: str = option(
        "mean", "Order of attention", one_of(("mean", "sum")), short="order of attention",
        choices={"mean over pairs": "mean", "sum, as printed": "sum"},
        hint="As a sum it is nearly all that counts for attention scores.",
    )  # fmt: skip
    tried: str = SCALES_TRIED
    search_pictures: int = option(128, "", whole(1), whole=True)  # at most so many; published: 1,000


@add_pass("ranking_search", Options=RankingOptions, gives=(CALIBRATED,), ends=(FLOAT,), weight=8.0)
@plain_arithmetic
def ranking_search(run: Run) -> None:
    """Fit all quantizers and correct biases, in place."""
    options, simulation, done = run.options(RankingOptions), run.simulation, []
    run.fp_model  # noqa: B018 - copied before biases change
    with Scratch() as scratch:
        for names in groups_of_layers(run.prepared):
            report(run, len(done))
            most = options.search_pictures
            found = gathered(run.prepared, names, run.pictures, most, None, scratch, run.monitor.check)
            for name in names:
                calls = found.calls(name)
                report(run, len(done) + HALF)
                done.append(_searched(run, name, calls, options))
                report(run, len(done))
            found.close()
    for layer, off in done:
        layer.settle()
        if layer.layer.weight is not None:
            show_weight(simulation, layer)
            if off is not None:
                corrected(simulation.layer(layer.layer.name), off)


def _searched(run: Run, name: str, calls: Calls, options: RankingOptions) -> tuple[SearchedLayer, Any]:
    """The layer with its candidates chosen, and what is to be taken from its bias."""
    layer, part = run.prepared.layers[name], run.simulation.layer(name)
    found = proposed(run.simulation, layer, calls, torch.linspace(FIRST, LAST, COUNT))
    if not any(operand.searched for operand in found.operands) or (
        found.right_first and found.weight is None
    ):
        return found, None
    pictures = pictures_of(part, found, calls)
    ordered = any(site.role == "query" for site in layer.inputs)
    search = RankingSearch(found, pictures, ordered, options.ranking == "sum", options.tried == "all")
    search.search(ROUNDS)
    found.note_noise(calls)
    return found, correction(found, pictures) if found.right_first else None
