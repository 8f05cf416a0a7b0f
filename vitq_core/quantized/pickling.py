"""Layers with quantized weights that can be pickled, so that ``torch.save`` takes a quantized model whole.

torch refuses parametrized modules, because their classes are made at run time.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..graph.site import WEIGHT


def make_picklable(layer: nn.Module) -> None:
    """``layer``: with a parametrized weight, so that it has a class of its own, which copies share.

    torch's property for the weight holds the layer that it was made for, which so outlives its model until
    the garbage collector comes; ours holds none.
    """
    kind = type(layer)
    kind.__reduce_ex__ = _reduce
    setattr(kind, WEIGHT, property(_weight, _set_weight))


def _weight(layer: nn.Module) -> Tensor:
    return layer.parametrizations[WEIGHT]()


def _set_weight(layer: nn.Module, value: Tensor) -> None:
    layer.parametrizations[WEIGHT].right_inverse(value)


def _reduce(layer: nn.Module, protocol: int) -> tuple:
    return _restored, (parametrize.type_before_parametrizations(layer), dict(vars(layer)))


def _restored(kind: type[nn.Module], state: dict[str, Any]) -> nn.Module:
    """The float weight back in its place in an ordinary layer, then its simulation over it."""
    layer = kind.__new__(kind)
    modules = dict(state["_modules"])
    weight = modules.pop("parametrizations")[WEIGHT]
    parameters = {**state["_parameters"], WEIGHT: weight.original}
    layer.__dict__.update(state, _modules=modules, _parameters=parameters)
    parametrize.register_parametrization(layer, WEIGHT, weight[0])
    make_picklable(layer)
    return layer
