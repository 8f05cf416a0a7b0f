"""PTQ4ViT's calibration (arXiv 2111.12293): every scale is searched by what it does to the layer's output,
weighed by the gradient of the loss.

All layers are searched on what reaches them in full precision; only afterwards is everything quantized.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..common.arithmetic import plain_arithmetic
from ..common.options import one_of, option, whole
from ..data.store import Scratch
from ..quantized.simulation import Simulation
from ..quantizers.kernels.scaled import factors
from ..recipes.steps import CALIBRATED, FLOAT, add_pass
from .base import Run
from .calibrate import PartOptions
from .search import hessian
from .search.gathering import gathered, groups_of_layers
from .search.layer import SearchedLayer, searched_layer
from .search.losses import LOSSES
from .search.product import Calls

ROUNDS = 3
HALF = 0.5
# Of searches that may close in on the best.
SCALES_TRIED = option(
    "coarse", "Scales tried", one_of(("coarse", "all")), name="scales_tried", short="scales tried",
    choices={"around the best": "coarse", "all, as published": "all"},
    hint="All hundred take about three times as long.",
)  # fmt: skip


@dataclass(frozen=True)
class HessianOptions(PartOptions):
    """Of the pass."""

    gradient: str = option(
        "label", "Errors weighed by", one_of(tuple(LOSSES)), short="weighed by",
        choices={"the gradient of the predicted class": "label", "rounding noise, as published": "published"},
        hint="The published code compares the model with itself, so its gradient is rounding noise.",
    )  # fmt: skip
    search_pictures: int = option(128, "", whole(1), whole=True)  # at most so many; published: 32


def check_gradient(run: Run) -> None:
    """Raises ValueError where the published gradient has no classes to be taken of."""
    if run.options(HessianOptions).gradient == "published" and not run.prepared.task.takes_targets:
        raise ValueError(
            "gradient='published' compares predicted classes, and this model has none; use 'label'"
        )


@add_pass(
    "hessian_search",
    Options=HessianOptions,
    gives=(CALIBRATED,),
    ends=(FLOAT,),
    weight=8.0,
    check=check_gradient,
)
@plain_arithmetic
def hessian_search(run: Run) -> None:
    """Fit all quantizers."""
    groups, done = groups_of_layers(run.prepared), []
    options, simulation = run.options(HessianOptions), run.simulation
    with Scratch() as scratch:
        for names in groups:
            report(run, len(done))
            found = gathered(
                run.prepared, names, run.pictures, options.search_pictures, LOSSES[options.gradient], scratch,
                run.monitor.check,
            )  # fmt: skip
            for name in names:
                calls = found.calls(name)
                report(run, len(done) + HALF)
                done.append(searched(run, name, calls))
                report(run, len(done))
            found.close()
    for found in done:
        found.settle()
        if found.layer.weight is not None:
            show_weight(simulation, found)


def report(run: Run, done: float) -> None:
    """So many layers are ``done``."""
    total = len(run.prepared.layers)
    run.monitor.report(done / total, f"Searching scales ({min(int(done) + 1, total)} of {total} layers)")


def searched(run: Run, name: str, calls: Calls) -> SearchedLayer:
    """The layer of this name with its candidates chosen."""
    found = searched_layer(run.simulation, run.prepared.layers[name], calls, factors())
    if found.pieces and any(operand.searched for operand in found.operands):
        hessian.search(found.left, found.right, found.pieces, ROUNDS, found.right_first)
        found.note_noise(calls)
    found.pieces.clear()
    return found


def show_weight(simulation: Simulation, found: SearchedLayer) -> None:
    """The layer multiplies with the quantized weight from now on."""
    name = found.layer.name
    if found.right.searched:
        simulation.simulated_weight(name).refresh(simulation.float_weight(name))
    else:
        simulation.fit_weight(name)
