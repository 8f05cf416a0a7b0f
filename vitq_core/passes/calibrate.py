"""Calibration: every quantizer fits itself on what reaches it, with all quantizers before it already active.

A weight whose range is ranked by the layer's output is fitted when its layer is reached, the others before.
One chunk of pictures takes one forward pass. More are processed module after module on stored activations, so
that every site sees all pictures, memory does not grow with their number, and their batches do not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..common.batch import Batch
from ..common.hooks import hooked
from ..common.monitor import Monitor
from ..common.options import check_given, option
from ..data.calibration_set import CalibrationPictures
from ..data.store import TreeStore
from ..graph.segments import Segment, segments
from ..graph.site import Layer, Site
from ..quantized.samples import Factors, ProductSample, Rows, RowSample, input_judges, sample_of
from ..quantized.simulation import Simulation
from ..quantizers.judges import Judge
from ..recipes.recipe import check_bits
from ..recipes.steps import CALIBRATED, FLOAT, PASSES, add_pass
from .base import Run
from .replay import Replay


def _parts(name: str, value: Any) -> tuple[str, ...] | None:
    """None, or names; the model knows which there are."""
    if value is None:
        return None
    if not isinstance(value, (tuple, list)) or not value or not all(isinstance(v, str) for v in value):
        raise ValueError(f"{name} must be names of a model's parts such as ('encoder',), got {value!r:.80}")
    return tuple(value)


def _bits(name: str, value: Any) -> int | None:
    return None if value is None else check_bits(value, name)


@dataclass(frozen=True)
class PartOptions:
    """What of a model is quantized, where it has parts: Segment Anything."""

    parts: tuple[str, ...] | None = option(None, "", _parts)  # None: all
    heads: int | None = option(None, "", _bits)  # bits of the mask decoder's heads, None: they stay float

    def __post_init__(self) -> None:
        check_given(self)


class _Reached(Exception):
    """A layer whose inputs were watched but cannot be simulated yet."""


@add_pass("calibrate", Options=PartOptions, gives=(CALIBRATED,), ends=(FLOAT,), weight=8.0)
def calibrate(run: Run) -> None:
    """Fit all quantizers; keep rows of the sites that a later pass rescales, where there is such a pass."""
    keep = any(PASSES[name].keeps_rows for name in run.recipe.passes)
    rescaled = _rescaled_sites(run.simulation) if keep else set()
    run.rows = fit_all(run.simulation, run.pictures, run.monitor, rescaled)


def fit_all(
    simulation: Simulation, pictures: CalibrationPictures, monitor: Monitor, keep: Collection[Site] = ()
) -> dict[Site, Rows]:
    """Returns activation rows of the sites in ``keep``."""
    layers = [layer for layer in simulation.layers.values() if layer.weight is not None]
    weighted = [layer.name for layer in layers if not simulation.quantizer(layer.weight).judged]
    for index, name in enumerate(weighted):
        monitor.report(
            0.3 * index / len(weighted), f"Measuring weights ({index + 1} of {len(weighted)} layers)"
        )
        simulation.fit_weight(name)
    watcher = _Watcher(simulation, pictures.count, monitor.part(0.3, 1.0), keep)
    with torch.no_grad():
        if len(pictures) == 1:
            with watcher.watching():
                next(iter(pictures)).through(simulation.module)
        else:
            blocks = simulation.family.blocks(simulation.module)
            found = segments(simulation.module, blocks, pictures.first(1))
            with watcher.watching():
                _by_segment(simulation.module, found, pictures, watcher, Replay(simulation, blocks))
    return watcher.rows


class _Watcher:
    """Shows inputs of unfitted layers to their quantizers; then either fits and goes on, or stops there."""

    def __init__(
        self, simulation: Simulation, pictures: int, monitor: Monitor, keep: Collection[Site]
    ) -> None:
        self._simulation, self._pictures, self._monitor, self._keep = simulation, pictures, monitor, keep
        self._waiting: str | None = None
        self._sample: RowSample | ProductSample | None = None  # of the layer that waits
        self.chunk, self.stop_there = pictures, False  # chunk: pictures that run through
        self.rows: dict[Site, Rows] = {}
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
                quantizer.observe(x, self.chunk / self._pictures)
            self._waiting = name
            if self._sampled(self._simulation.layers[name]):
                self._sample = self._sample or sample_of(layer, self._pictures)
                if self._sample is not None:
                    self._sample.update(inputs, self.chunk)
            if self.stop_there:
                raise _Reached
            self.fit_waiting()

        return watch

    def _sampled(self, layer: Layer) -> bool:
        kept = any(site in self._keep for site in layer.inputs)
        return kept or any(self._simulation.quantizer(site).judged for site in layer.sites)

    def fit_waiting(self) -> None:
        if self._waiting is None:
            return
        layer, kept = self._simulation.layers[self._waiting], self._sample and self._sample.kept()
        self._fit_inputs(layer, kept)
        if layer.weight is not None and self._simulation.quantizer(layer.weight).judged:
            weight = self._simulation.float_weight(layer.name)
            self._simulation.fit_weight(layer.name, kept and kept.judge_weight(weight))
        self._done += 1
        total = len(self._simulation.layers)
        self._monitor.report(self._done / total, f"Measuring activations ({self._done} of {total} layers)")
        self._waiting = self._sample = None

    def _fit_inputs(self, layer: Layer, kept: Rows | Factors | None) -> None:
        quantizers = [self._simulation.quantizer(site) for site in layer.inputs]
        judges: list[Judge | None] = [None] * len(quantizers)
        if kept is not None:
            weight = None if layer.weight is None else self._simulation.float_weight(layer.name)
            judges = input_judges(kept, quantizers, weight)
        for site, quantizer, judge in zip(layer.inputs, quantizers, judges, strict=True):
            if site in self._keep:
                self.rows[site] = kept
            quantizer.finish(judge)


def _rescaled_sites(simulation: Simulation) -> set[Site]:
    """Input sites behind a rescalable LayerNorm whose quantizer is per channel."""
    pairs = simulation.family.pairs(simulation.module)
    linears = {linear for pair in pairs for linear in pair.linears if linear in simulation.layers}
    sites = {simulation.layers[name].inputs[0] for name in linears}
    return {site for site in sites if getattr(simulation.quantizer(site), "axis", None) == -1}


def _by_segment(
    module: nn.Module,
    found: list[Segment],
    pictures: CalibrationPictures,
    watcher: _Watcher,
    replay: Replay,
) -> None:
    """A model of one segment starts from the pictures for every layer."""
    watcher.stop_there = True
    stream: Iterable = [None] * len(pictures)  # read again for every layer of the first segment
    with ExitStack() as held:
        for segment in found:
            with replay:
                following = _run_segment(partial(segment.run, module), pictures, stream, watcher, replay)
            held.close()
            stream = held.enter_context(following)


def _run_segment(
    run: Callable[[Batch, Any], Any],
    pictures: CalibrationPictures,
    stream: Iterable,
    watcher: _Watcher,
    replay: Replay,
) -> TreeStore:
    """Run over all pictures until nothing in the segment is left to fit; the outputs of that last round."""
    while True:
        outputs, reached = TreeStore(), False
        replay.begin_round()
        try:
            for number, (chunk, given) in enumerate(zip(pictures, stream, strict=True)):
                watcher.chunk = len(chunk)
                replay.begin_chunk(number)
                try:
                    outputs.append(run(chunk, given))
                except _Reached:
                    reached = True
        except BaseException:
            outputs.close()
            raise
        if not reached:
            return outputs
        watcher.fit_waiting()
