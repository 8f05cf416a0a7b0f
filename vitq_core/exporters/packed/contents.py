"""Which tensors a described model has: their names, types and shapes."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import nn

from ...graph.site import WEIGHT, Layer
from ...quantized.packing import packed_bytes
from ...quantized.tensors import CODES
from ...quantizers import kind_of
from ...quantizers.storage import STORED_TYPES
from .container import Kind, Stored
from .description import BITS, Description

BIAS = "bias"


def float_names(description: Description, stored: Stored) -> list[str]:
    """Of the tensors that are neither codes nor parameters of a quantizer."""
    quantized = {*_parameters(description), *(codes_of(layer) for layer in _weighted(description))}
    return [name for name in stored.kinds if name not in quantized]


def codes_of(layer: Layer) -> str:
    """The name of a layer's codes."""
    return f"{layer.weight}.{CODES}"


def check_tensors(description: Description, module: nn.Module, stored: Stored) -> None:
    """Names, types and shapes; those shapes that depend on the calibration are left to the quantizers."""
    state = {n: Kind(t.dtype, tuple(t.shape)) for n, t in module.state_dict().items()}
    parameters = _parameters(description)
    codes = {
        codes_of(layer): _codes(
            state.pop(f"{layer.name}.{WEIGHT}"), description.quantizers[str(layer.weight)]
        )
        for layer in _weighted(description)
    }
    for name in (*state, *codes, *parameters):
        if name not in stored.kinds:
            raise ValueError(f"{name} is missing")
    known = {**_addable(module), **state, **codes}
    for name, kind in stored.kinds.items():
        if name in parameters:
            _check_type(name, kind)
        elif name not in known:
            raise ValueError(f"{name} is no tensor of this model")
        elif kind != known[name]:
            raise ValueError(
                f"{name} has shape {kind.shape} and type {kind.dtype} in place of "
                f"{known[name].shape} and {known[name].dtype}"
            )


def _check_type(name: str, kind: Kind) -> None:
    if kind.dtype not in STORED_TYPES:
        raise ValueError(f"{name} is of type {kind.dtype} in place of {', '.join(map(str, STORED_TYPES))}")


def _weighted(description: Description) -> list[Layer]:
    return [layer for layer in description.layers.values() if layer.weight is not None]


def _codes(weight: Kind, settings: dict[str, Any]) -> Kind:
    return Kind(torch.uint8, (packed_bytes(prod(weight.shape), settings[BITS]),))


def _parameters(description: Description) -> set[str]:
    """The names of those of all quantizers."""
    used = {site: kind_of(description.recipe.use_for(site).quantizer) for site in description.sites}
    return {f"{site}.{name}" for site, quantizer in used.items() for name in quantizer.PARAMETERS}


def _addable(module: nn.Module) -> dict[str, Kind]:
    """Biases that rescaling gives to layers and norms which were built without one."""
    found = {}
    for name, part in module.named_modules():
        weight = getattr(part, WEIGHT, None)
        if part._parameters.get(BIAS, part) is None and weight is not None:
            found[f"{name}.{BIAS}"] = Kind(weight.dtype, tuple(weight.shape[:1]))
    return found
