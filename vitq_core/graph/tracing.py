"""The layers that a forward really runs, with their parameters and multiply-accumulates."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ..common.batch import Batch
from ..common.hooks import hooked
from .site import Layer, Site


def trace_layers(module: nn.Module, sites: Iterable[Site], batch: Batch) -> dict[str, Layer]:
    """``batch``: of one picture. Layers in the order of ``sites``, without those that the forward does not
    reach.

    Raises ValueError for a picture that the model cannot take.
    """
    by_module: dict[str, list[Site]] = {}
    for site in sites:
        by_module.setdefault(site.module, []).append(site)
    trace = _run(module, list(by_module), batch)
    return {
        name: Layer(
            name,
            tuple(sites),
            _params(module.get_submodule(name)),
            trace.macs[name],
            trace.shares_input(name),
            trace.outputs[name],
        )
        for name, sites in by_module.items()
        if name in trace.macs
    }


class _Trace:
    """What one forward did: multiply-accumulates, outputs and first input of every layer."""

    def __init__(self) -> None:
        self.macs: dict[str, int] = {}
        self.outputs: dict[str, int] = {}
        self._inputs: dict[str, Tensor] = {}

    def hook(self, name: str) -> Callable:
        def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.macs[name] = self.macs.get(name, 0) + _macs(layer, inputs, output)
            self.outputs[name] = output.numel()
            self._inputs[name] = inputs[0]

        return note

    def shares_input(self, name: str) -> bool:
        return any(x is self._inputs[name] for other, x in self._inputs.items() if other != name)


def _run(module: nn.Module, names: list[str], batch: Batch) -> _Trace:
    trace = _Trace()
    hooks = [(module.get_submodule(name), trace.hook(name)) for name in names]
    try:
        with torch.no_grad(), hooked(*hooks):
            batch.through(module)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"the model cannot take pictures of {batch.shape}: {error}") from error
    return trace


def _macs(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> int:
    """Multiply-accumulates: a transposed convolution multiplies each input with all that it is spread over,
    every other layer sums its products for each output."""
    weight = getattr(layer, "weight", None)
    if isinstance(layer, nn.ConvTranspose2d):
        return inputs[0].numel() * weight[0].numel()
    return output.numel() * (inputs[0].shape[-1] if weight is None else weight[0].numel())


def _params(layer: nn.Module) -> int:
    weight = getattr(layer, "weight", None)
    return 0 if weight is None else weight.numel()
