"""The layers that a forward really runs, with their parameters and multiply-accumulates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .families import Family
from .site import Layer, Site


def trace_layers(module: nn.Module, family: Family, picture: Tensor) -> dict[str, Layer]:
    """``picture``: [1, C, H, W]. Layers in the family's order; one that the forward does not reach is left out."""
    by_module: dict[str, list[Site]] = {}
    for site in family.sites(module):
        by_module.setdefault(site.module, []).append(site)
    macs = _count_macs(module, list(by_module), picture)
    return {
        name: Layer(name, tuple(sites), _params(module.get_submodule(name)), macs[name])
        for name, sites in by_module.items()
        if name in macs
    }


def _count_macs(module: nn.Module, names: list[str], picture: Tensor) -> dict[str, int]:
    macs: dict[str, int] = {}

    def note(name: str):
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            macs[name] = macs.get(name, 0) + output.numel() * _terms(layer, inputs) // len(picture)

        return hook

    hooks = [module.get_submodule(name).register_forward_hook(note(name)) for name in names]
    try:
        with torch.no_grad():
            module(picture)
    finally:
        for hook in hooks:
            hook.remove()
    return macs


def _terms(layer: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Products summed for one output value."""
    weight = getattr(layer, "weight", None)
    return inputs[0].shape[-1] if weight is None else weight[0].numel()


def _params(layer: nn.Module) -> int:
    weight = getattr(layer, "weight", None)
    return 0 if weight is None else weight.numel()
