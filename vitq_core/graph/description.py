"""What descriptions of saved models have in common: classes named and found again, norms, and the check that
the description makes the same parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature
from types import ModuleType
from typing import Any

import torch
from torch import nn

from ..common.errors import VitqError

Sources = Sequence[ModuleType]  # where a class named in a saved file may come from


def resolve(name: str, kind: type, sources: Sources) -> type:
    """The class of that name and kind; VitqError where timm and torch have none: a file can name
    architectures, never arbitrary code."""
    for source in sources:
        found = getattr(source, name, None)
        if isinstance(found, type) and issubclass(found, kind):
            return found
    raise VitqError(
        f"timm and torch have no {kind.__name__} class {name!r}; is timm older than the saved model?"
    )


def class_name(module: nn.Module, sources: Sources) -> str:
    """The class that it is, or is derived from; saving checks that the two compute the same."""
    return next(
        cls.__name__
        for cls in type(module).__mro__
        if any(getattr(source, cls.__name__, None) is cls for source in sources)
    )


def describe_norm(norm: nn.Module) -> dict[str, Any]:
    """JSON-ready."""
    affine = getattr(norm, "weight", None) is not None
    return {"name": type(norm).__name__, "eps": getattr(norm, "eps", None), "affine": affine}


def norm_layer(norm: dict[str, Any], sources: Sources) -> Callable[..., nn.Module]:
    """What makes a norm as :func:`describe_norm` describes it, given its channels."""
    cls = resolve(norm["name"], nn.Module, sources)
    options = {} if norm["eps"] is None else {"eps": norm["eps"]}
    if not norm["affine"]:  # timm's word, else torch's
        options["affine" if "affine" in signature(cls).parameters else "elementwise_affine"] = False
    return partial(cls, **options)


def mlp_ratio(first: nn.Linear) -> float:
    """Of an MLP by its ``first`` layer. The constructor truncates: half a unit of room."""
    return (first.out_features + 0.5) / first.in_features


def check_rebuilt(module: nn.Module, construct: Callable[[], nn.Module]) -> None:
    """VitqError where ``construct`` makes other parameters than ``module`` has: it was altered."""
    with torch.device("meta"):
        rebuilt = {name: tuple(p.shape) for name, p in construct().named_parameters()}
    own = {name: tuple(p.shape) for name, p in module.named_parameters()}
    own = {
        name.replace(".parametrizations", "").removesuffix(".original"): shape for name, shape in own.items()
    }
    # Reparameterization gives a bias to layers and norms without one; loading does so too.
    different = sorted(
        name
        for name, _ in set(rebuilt.items()) ^ set(own.items())
        if name in rebuilt or f"{name.removesuffix('.bias')}.weight" not in rebuilt
    )
    if different:
        raise VitqError(
            f"this model was altered after it was built ({different[0]} differs), so it cannot be saved"
        )
