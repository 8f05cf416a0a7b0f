"""Heads that are a sequence of ordinary layers, described so that a saved model can rebuild them."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from ..common.errors import VitqError

# What a head may be made of: class → the attributes that its constructor takes.
PARTS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("in_features", "out_features", "bias"),
    nn.LayerNorm: ("normalized_shape", "eps", "elementwise_affine", "bias"),
    nn.BatchNorm1d: ("num_features", "eps", "momentum", "affine", "track_running_stats"),
    nn.GELU: ("approximate",),
    nn.Softmax: ("dim",),
    nn.LogSoftmax: ("dim",),
    nn.Flatten: ("start_dim", "end_dim"),
    **dict.fromkeys((nn.Dropout, nn.AlphaDropout), ("p",)),
    **dict.fromkeys((nn.Identity, nn.ReLU, nn.SiLU, nn.Tanh, nn.Sigmoid), ()),
}
BY_NAME = {kind.__name__: kind for kind in PARTS}


def is_known(head: nn.Module) -> bool:
    """Whether :func:`describe_head` can describe it: parts of :data:`PARTS`, in sequences of any depth."""
    if type(head) is nn.Sequential:
        return all(map(is_known, head))
    return _class(head) in PARTS


def linears_of(name: str, head: nn.Module | None) -> list[str]:
    """The names of the linear layers in ``head``, called ``name``, that make the answer; none in a head of
    parts that are not known."""
    if isinstance(head, nn.Linear):
        return [name]
    if not isinstance(head, nn.Sequential) or not is_known(head):
        return []
    return [inner for inner, part in head.named_modules(prefix=name) if isinstance(part, nn.Linear)]


def describe_head(head: nn.Module) -> dict[str, Any]:
    """JSON-ready. Raises VitqError for a part that is not torch's own."""
    if type(head) is nn.Sequential:
        return {"parts": {name: describe_head(part) for name, part in head.named_children()}}
    kind = _class(head)
    if kind not in PARTS:
        raise VitqError(
            f"the head holds a {kind.__name__}, which is not one of {', '.join(sorted(BY_NAME))}: "
            "the model cannot be saved"
        )
    return {"name": kind.__name__, "options": {name: _option(head, name) for name in PARTS[kind]}}


def build_head(description: dict[str, Any]) -> nn.Module:
    """An untrained one. Raises VitqError for a class that heads are not made of."""
    if "parts" in description:
        head = nn.Sequential()
        for name, part in description["parts"].items():
            head.add_module(name, build_head(part))
        return head
    if description["name"] not in BY_NAME:
        raise VitqError(f"no head has a part {description['name']!r}; known: {', '.join(sorted(BY_NAME))}")
    return BY_NAME[description["name"]](**description["options"])


def _class(part: nn.Module) -> type[nn.Module]:
    """Its own, also where its weight is quantized."""
    return parametrize.type_before_parametrizations(part)


def _option(part: nn.Module, name: str) -> Any:
    value = getattr(part, name)
    if name == "bias":
        return value is not None
    return list(value) if isinstance(value, tuple) else value
