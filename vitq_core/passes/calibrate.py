"""Calibration: every quantizer fits itself on what reaches it, with all quantizers before it already active.

One chunk of pictures takes one forward pass. More are processed module after module on stored activations, so
that every site sees all pictures, memory does not grow with their number, and their batches do not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from ..common.hooks import hooked
from ..common.monitor import Monitor
from ..data.calibration_set import CalibrationPictures
from ..data.store import ActivationStore
from ..graph.segments import Paired, runs_in_sequence, stem, tail
from ..graph.site import Site
from ..quantized.simulation import Simulation
from ..recipes.steps import CALIBRATED, FLOAT, PASSES, add_pass
from .base import Run

ROWS = 512  # activation rows kept of a site for passes that weigh candidates on a layer's output


class _Reached(Exception):
    """A layer whose inputs were watched but cannot be simulated yet."""


@add_pass("calibrate", gives=(CALIBRATED,), ends=(FLOAT,), weight=8.0)
def calibrate(run: Run) -> None:
    """Fit all quantizers; keep rows of the sites that a later pass rescales, where there is such a pass."""
    keep = any(PASSES[name].keeps_rows for name in run.recipe.passes)
    rescaled = _rescaled_sites(run.simulation) if keep else set()
    run.rows = fit_all(run.simulation, run.pictures, run.monitor, rescaled)


def fit_all(
    simulation: Simulation, pictures: CalibrationPictures, monitor: Monitor, keep: Collection[Site] = ()
) -> dict[Site, Tensor]:
    """Returns activation rows [≤ 512, D] of the sites in ``keep``."""
    weighted = [layer.name for layer in simulation.layers.values() if layer.weight is not None]
    for index, name in enumerate(weighted):
        monitor.report(
            0.3 * index / len(weighted), f"Measuring weights ({index + 1} of {len(weighted)} layers)"
        )
        simulation.fit_weight(name)
    watcher = _Watcher(simulation, monitor.part(0.3, 1.0), keep)
    with torch.no_grad():
        blocks = [simulation.layer(name) for name in simulation.family.blocks(simulation.module)]
        in_sequence = len(pictures) > 1 and runs_in_sequence(simulation.module, blocks, pictures.first)
        with watcher.watching():
            if len(pictures) == 1:
                simulation.module(next(iter(pictures)))
            elif in_sequence:
                _by_module(simulation.module, blocks, pictures, watcher)
            else:  # a forward of its own between the blocks: start from the pictures for every layer
                watcher.stop_there = True
                _run_segment(simulation.module, pictures, pictures.count, watcher).close()
    return watcher.rows


class _Watcher:
    """Shows inputs of unfitted layers to their quantizers; then either fits and goes on, or stops there."""

    def __init__(self, simulation: Simulation, monitor: Monitor, keep: Collection[Site]) -> None:
        self._simulation, self._monitor, self._keep = simulation, monitor, keep
        self._waiting: list[str] = []
        self.share, self.stop_there = 1.0, False
        self.rows: dict[Site, Tensor] = {}
        self._done = 0

    def watching(self) -> AbstractContextManager:
        layers = self._simulation.layers
        return hooked(before=[(self._simulation.layer(name), self._hook(name)) for name in layers])

    def _hook(self, name: str) -> Callable:
        def watch(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            unfitted = [(q, x) for q, x in zip(layer.input_quantizers, inputs, strict=False) if not q.fitted]
            if not unfitted:
                return
            self._monitor.check()
            for quantizer, x in unfitted:
                quantizer.observe(x, self.share)
            self._waiting = [name]
            if self.stop_there:
                raise _Reached
            self.fit_waiting()

        return watch

    def fit_waiting(self) -> None:
        for name in self._waiting:
            for site in self._simulation.layers[name].inputs:
                quantizer = self._simulation.quantizer(site)
                if site in self._keep:
                    sample = quantizer.statistics.sample.T
                    self.rows[site] = sample[:: -(-len(sample) // ROWS)].clone()
                quantizer.finish()
            self._done += 1
            total = len(self._simulation.layers)
            self._monitor.report(
                self._done / total, f"Measuring activations ({self._done} of {total} layers)"
            )
        self._waiting = []


def _rescaled_sites(simulation: Simulation) -> set[Site]:
    """Input sites behind a rescalable LayerNorm whose quantizer is per channel."""
    pairs = simulation.family.pairs(simulation.module)
    linears = {linear for pair in pairs for linear in pair.linears if linear in simulation.layers}
    sites = {simulation.layers[name].inputs[0] for name in linears}
    return {site for site in sites if getattr(simulation.quantizer(site), "axis", None) == -1}


def _by_module(
    module: nn.Module, blocks: list[nn.Module], pictures: CalibrationPictures, watcher: _Watcher
) -> None:
    watcher.stop_there = True
    activations = _run_segment(stem(module, blocks), pictures, pictures.count, watcher)
    for block in blocks:
        with activations:
            following = _run_segment(block, activations, pictures.count, watcher)
        activations = following
    with activations:
        _run_segment(tail(module, blocks), Paired(pictures, activations), pictures.count, watcher).close()


def _run_segment(run: Callable, inputs: Iterable, count: int, watcher: _Watcher) -> ActivationStore:
    """Run over all inputs until nothing in the segment is left to fit; the outputs of that last round."""
    while True:
        outputs, reached = ActivationStore(), False
        try:
            for chunk in inputs:
                watcher.share = len(chunk[0] if isinstance(chunk, tuple) else chunk) / count
                try:
                    outputs.append(run(chunk))
                except _Reached:
                    reached = True
        except BaseException:
            outputs.close()
            raise
        if not reached:
            return outputs
        watcher.fit_waiting()
