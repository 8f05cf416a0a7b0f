"""Calibration as FQ-ViT and PSAQ-ViT have it: every quantizer, also of the tensors between layers, is fitted
to what passes through the network in floating point, all in one go.

Of each tensor the ends of every batch and a sample of bounded size are kept until the last batch is through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import replace
from itertools import count

import torch
from torch import Tensor, nn

from ..common.batch import Batch
from ..common.hooks import hooked
from ..common.monitor import Monitor
from ..graph.site import INPUT, OUTPUT, SECOND, Site
from ..quantized.integer_softmax import LogIntSoftmax, ScoreGrid, check_scale
from ..quantized.simulation import Simulation
from ..quantizers import Quantizer
from ..recipes.steps import CALIBRATED, FLOAT, add_pass
from .base import Run
from .integer_options import IntegerOptions, with_options


def _check(run: Run) -> None:
    """Raises ValueError for a model whose tensors between layers nobody lists."""
    if run.prepared.between is None:
        kind = type(run.given).__name__
        raise ValueError(
            f"recipe {run.recipe.name!r} quantizes everything that a ViT or a Swin computes with, and what "
            f"lies between the layers of this {kind} is not listed; take a ViT, DeiT or Swin, or another "
            "recipe ('ptq4sam' is made for Segment Anything)"
        )


def _check_integers(run: Run) -> None:
    _check(run)
    if "log_base" in run.recipe.options:
        raise ValueError(
            f"recipe {run.recipe.name!r} gives attention as powers of 2, so log_base has nothing to choose"
        )


@add_pass("observe", gives=(CALIBRATED,), ends=(FLOAT,), weight=8.0, check=_check)
def observe(run: Run) -> None:
    """Fit every quantizer to the network in floating point."""
    observed(run.simulation, run.pictures, run.monitor, run.pictures.count)


@add_pass(
    "observe_integers",
    Options=IntegerOptions,
    gives=(CALIBRATED,),
    ends=(FLOAT,),
    weight=8.0,
    check=_check_integers,
)
def observe_integers(run: Run) -> None:
    """The same where softmax and LayerNorm compute with whole numbers. Raises ValueError where the scores'
    steps are too large for that."""
    options = run.options(IntegerOptions)
    run.recipe = with_options(run.recipe, options)
    batches = (part for chunk in run.pictures for part in chunk.split(options.observed_batch or len(chunk)))
    observed(run.simulation, batches, run.monitor, run.pictures.count, options.early_softmax)
    _check_scores(run.simulation)


def observed(
    simulation: Simulation, batches: Iterable[Batch], monitor: Monitor, pictures: int, early: bool = False
) -> None:
    """Fit the quantizers of ``simulation`` to ``batches`` of so many ``pictures`` in all. ``early``: as the
    option ``early_softmax``."""
    same = _parts(simulation)
    watched = {site: simulation.quantizer(site) for site in _activations(simulation) if site not in same}
    _watch_all(simulation, watched, batches, monitor.part(0.0, 0.6), pictures, early)
    for index, quantizer in enumerate(watched.values()):
        monitor.report(0.6 + 0.2 * index / len(watched), f"Fitting {index + 1} of {len(watched)} ranges")
        quantizer.finish()
    for site, (source, factor) in same.items():
        _share(simulation.quantizer(source), simulation.quantizer(site), factor)
    weighted = [layer.name for layer in simulation.layers.values() if layer.weight is not None]
    for index, name in enumerate(weighted):
        part, whole = index + 1, len(weighted)
        monitor.report(0.8 + 0.2 * index / whole, f"Measuring weights ({part} of {whole} layers)")
        simulation.fit_weight(name)


def _watch_all(
    simulation: Simulation,
    watched: Mapping[Site, Quantizer],
    batches: Iterable[Batch],
    monitor: Monitor,
    pictures: int,
    early: bool,
) -> None:
    """Show the ``batches``, as they pass through the network, to the quantizers."""
    seen = 0
    with torch.no_grad():
        for batch, last in _until_last(batches):
            share = len(batch) / pictures
            part = monitor.part(seen / pictures, min(1.0, seen / pictures + share))
            softmaxes = _EarlySoftmax(simulation) if early and last else None
            with _watching(simulation.module, watched, share, part, softmaxes):
                batch.through(simulation.module)
            if softmaxes:
                softmaxes.end()
            seen += len(batch)


def _activations(simulation: Simulation) -> Iterator[Site]:
    for layer in simulation.layers.values():
        yield from layer.inputs
    yield from simulation.between


def _until_last(batches: Iterable[Batch]) -> Iterator[tuple[Batch, bool]]:
    """Each with whether it is the last."""
    coming = iter(batches)
    batch = next(coming)
    for following in coming:
        yield batch, False
        batch = following
    yield batch, True


def _parts(simulation: Simulation) -> dict[Site, tuple[Site, float]]:
    """The inputs of products that have the codes of a tensor of which they are a part: of as many bits."""
    return {
        site: (source, factor)
        for site, (source, factor) in simulation.prepared.between.same.items()
        if site.module in simulation.layers
        and simulation.quantizer(site).bits == simulation.quantizer(source).bits
    }


def _share(whole: Quantizer, part: Quantizer, factor: float) -> None:
    part.set_parameters(whole.scale * factor, whole.zero_point.clone())
    part.sqnr_db = whole.sqnr_db


def _watching(
    module: nn.Module,
    watched: Mapping[Site, Quantizer],
    share: float,
    monitor: Monitor,
    early: _EarlySoftmax | None,
) -> AbstractContextManager:
    """``share``: of the pictures, that of the batch which passes inside."""
    before, after, done = [], [], count()

    def watch(site: Site, quantizer: Quantizer) -> Callable:
        def hook(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | None = None) -> None:
            number = min(next(done), len(watched) - 1)
            monitor.report(number / len(watched), f"Measuring activations ({number + 1} of {len(watched)})")
            given = output if site.tensor == OUTPUT else inputs[(INPUT, SECOND).index(site.tensor)]
            quantizer.observe(given, share)
            if early is not None:
                early.hear(site, quantizer)

        return hook

    for site, quantizer in watched.items():
        hook = module.get_submodule(site.module), watch(site, quantizer)
        (after if site.tensor == OUTPUT else before).append(hook)
    return hooked(*after, before=before)


class _EarlySoftmax:
    """For one batch: each softmax is of whole numbers as soon as its scores were observed."""

    def __init__(self, simulation: Simulation) -> None:
        softmaxes = simulation.prepared.between.softmaxes
        self._parts = {site: simulation.layer(name) for name, site in softmaxes.items()}
        self._own: list[tuple[LogIntSoftmax, ScoreGrid]] = []

    def hear(self, site: Site, quantizer: Quantizer) -> None:
        part = self._parts.get(site)
        if isinstance(part, LogIntSoftmax):
            fitted = deepcopy(quantizer)
            fitted.finish()
            self._own.append((part, part.grid))
            part.grid = replace(part.grid, scores=fitted)

    def end(self) -> None:
        for part, grid in self._own:
            part.grid = grid


def _check_scores(simulation: Simulation) -> None:
    for name, site in simulation.prepared.between.softmaxes.items():
        if isinstance(simulation.layer(name), LogIntSoftmax):
            check_scale(simulation.quantizer(site).scale, f"the scores of {name.rpartition('.')[0]}")
