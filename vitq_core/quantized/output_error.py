"""The error of a layer's output when one of its operands is quantized, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor, nn

from ..common.batch import Batch
from ..common.hooks import hooked
from ..common.monitor import Monitor
from ..graph.site import Layer
from ..quantizers import Quantizer
from ..quantizers.judges import Judge
from ..recipes.recipe import Recipe
from .samples import input_judges, sample_of
from .simulation import make_quantizer

APART = 4  # pictures that are taken where each runs alone
RANKED = 2**16  # values that a quantizer's range is chosen on
OutputError = dict[int, Tensor]  # bits → ‖O − Ô‖² / ‖O‖² per picture [B]


@dataclass
class LayerError:
    """``act``: with all inputs quantized; ``weight``: with the weight quantized, empty without one.

    ``parameter_bytes``: what the quantizers of weight and inputs take in a file, at most.
    """

    act: OutputError
    weight: OutputError
    parameter_bytes: int

    @property
    def parts(self) -> tuple[OutputError, ...]:
        return tuple(part for part in (self.act, self.weight) if part)


def output_errors(
    module: nn.Module,
    layers: dict[str, Layer],
    recipe: Recipe,
    pictures: Batch,
    bits: tuple[int, ...],
    measured: int = 8,
    monitor: Monitor | None = None,
) -> dict[str, LayerError]:
    """One full-precision forward of a rewritten ``module`` on ``pictures``, measuring on the way.

    The recipe's quantizers are fitted on all pictures, the error is measured on ``measured`` of them. Of
    pictures that each run alone the first ``APART`` are taken, and all of these run again but the last, which
    finds the quantizers fitted. Raises ValueError for a model that is quantized already.
    """
    if hasattr(module, "vitq"):
        raise ValueError("this model is quantized already: output error is measured on the float one")
    monitor = monitor or Monitor()
    chunks = [pictures] if isinstance(pictures.args[0], Tensor) else [*pictures.split(1)][:APART]
    few = slice(None, None, -(-len(pictures) // measured)) if len(chunks) == 1 else slice(None)
    total = sum(map(len, chunks))
    watched = {
        name: _Watched(module.get_submodule(name), layer, recipe, bits, total)
        for name, layer in layers.items()
    }
    rounds, done = [*enumerate(chunks), *enumerate(chunks[:-1])], count()

    def watch(name: str, number: int) -> Callable:
        def hook(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            before, layer = next(done), watched[name]
            said = f"Measuring rounding noise ({before % len(layers) + 1} of {len(layers)} layers)"
            monitor.report(before / (len(layers) * len(rounds)), said)
            if not layer.fitted:
                layer.observe(inputs, len(chunks[number]))
                if number == len(chunks) - 1:
                    layer.fit()
            if layer.fitted:
                layer.measure(number, inputs, len(chunks[number]), few)

        return hook

    for number, chunk in rounds:
        hooks = ((module.get_submodule(name), watch(name, number)) for name in layers)
        with torch.no_grad(), hooked(*hooks):
            chunk.through(module)
    return {name: layer.error() for name, layer in watched.items()}


class _Watched:
    """A layer: what reaches it, its quantizers at every width, and what they do to its output."""

    def __init__(
        self, part: nn.Module, layer: Layer, recipe: Recipe, bits: tuple[int, ...], pictures: int
    ) -> None:
        self._part, self._layer, self._bits, self._pictures = part, layer, bits, pictures
        self._watching = [make_quantizer(recipe, site, bits[0]) for site in layer.sites]
        judged = any(quantizer.judged for quantizer in self._watching)
        self._sample = sample_of(part, pictures) if judged else None
        self.fitted: list[dict[int, Quantizer]] = []  # by site
        self._act: dict[int, OutputError] = {}  # by the pictures' place
        self._weight: dict[int, OutputError] = {}

    @property
    def _operands(self) -> int:
        return len(self._layer.inputs)

    def observe(self, inputs: tuple[Tensor, ...], pictures: int) -> None:
        for quantizer, x in zip(self._watching[: self._operands], inputs, strict=False):
            quantizer.observe(x, pictures / self._pictures)
        if self._sample is not None:
            self._sample.update(inputs, pictures)

    def fit(self) -> None:
        """Forgets what was observed."""
        if self._layer.weight is not None:
            self._watching[-1].observe(self._part.weight)
        judges = self._judges()
        self.fitted = [_at_all(self._bits, *each) for each in zip(self._watching, judges, strict=True)]
        self._watching, self._sample = [], None

    def _judges(self) -> list[Judge | None]:
        """For the quantizers of the sites: rougher ones than calibration's, for there are seven widths."""
        if self._sample is None:
            return [None] * len(self._watching)
        kept = self._sample.kept()
        if self._layer.weight is None:
            return input_judges(kept, self._watching, None)
        weight = self._part.weight
        judges = [*input_judges(kept, self._watching[:-1], weight), kept.judge_single_weights(weight)]
        return [judge and judge.thinned(RANKED) for judge in judges]

    def measure(self, place: int, inputs: tuple[Tensor, ...], pictures: int, few: slice) -> None:
        """The error of ``few`` of so many ``pictures`` whose ``inputs`` these are."""
        part, operands = self._part, self._operands
        shown = [*(x[few] for x in inputs[:operands]), *inputs[operands:]]
        expected, rows = part.forward(*shown), len(range(pictures)[few])
        self._act[place] = {
            b: _ratio(
                part.forward(*(self.fitted[i][b](shown[i]) for i in range(operands)), *shown[operands:]),
                expected,
                rows,
            )
            for b in self._bits
        }
        self._weight[place] = {}
        if self._layer.weight is not None:
            for b in self._bits:
                with shown_weight(part, self.fitted[-1][b](part.weight)):
                    self._weight[place][b] = _ratio(part.forward(*shown), expected, rows)

    def error(self) -> LayerError:
        """Of all pictures that were measured."""
        kept = [
            each[self._bits[0]].most_stored_bytes(rescaled=site.role == "post_layernorm")
            for site, each in zip(self._layer.sites, self.fitted, strict=False)
        ]
        return LayerError(_joined(self._act), _joined(self._weight), sum(kept))


def _at_all(bits: tuple[int, ...], watching: Quantizer, judge: Judge | None) -> dict[int, Quantizer]:
    """The quantizer at every width, from statistics gathered once."""
    if watching.statistics is not None:  # not of what stays in floating point
        watching.statistics.thin(RANKED)  # seven widths to fit: a bit less finely than the one that is used
    quantizers = {b: deepcopy(watching, {id(watching.statistics): watching.statistics}) for b in bits}
    for b, quantizer in quantizers.items():
        quantizer.bits = b
        quantizer.finish(judge)
    return quantizers


def _joined(measured: dict[int, OutputError]) -> OutputError:
    """In the order of the pictures' places."""
    parts = [measured[place] for place in sorted(measured)]
    return {b: torch.cat([part[b] for part in parts]) for b in parts[0]}


def _ratio(actual: Tensor, expected: Tensor, pictures: int) -> Tensor:
    error, signal = (x.reshape(pictures, -1).square().sum(1) for x in (actual - expected, expected))
    return error / signal.clamp_min(1e-30)


@contextmanager
def shown_weight(part: nn.Module, weight: Tensor) -> Iterator[None]:
    """Inside, ``part`` multiplies with ``weight``."""
    kept = part.weight
    part.weight = nn.Parameter(weight, requires_grad=False)
    try:
        yield
    finally:
        part.weight = kept
