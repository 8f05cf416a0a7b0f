"""A timm model whose weights are still to come: no number is drawn at random only to be replaced."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ...common.errors import VitqError
from ...common.words import brief

# What a description that does not fit its architecture makes timm and torch raise.
MISFITS = (
    RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError, ArithmeticError,
    MemoryError, RecursionError,
)  # fmt: skip
_RANDOM = {
    "normal_", "uniform_", "bernoulli_", "random_", "erfinv_", "trunc_normal_", "kaiming_uniform_",
    "kaiming_normal_", "xavier_uniform_", "xavier_normal_", "orthogonal_",
}  # fmt: skip
Build = Callable[[], nn.Module]


class _NothingRandom(TorchFunctionMode):
    """Initial values stay as memory was; buffers that are worked out, such as a Swin's indices, are right."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(function, "__name__", "") in _RANDOM:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **(kwargs or {}))


def outlined(build: Build, source: str) -> nn.Module:
    """What `build` makes, without memory for its weights: its names and shapes. VitqError blames `source`."""
    with _blaming(source), torch.device("meta"):
        return build()


def built(build: Build, source: str) -> nn.Module:
    """What `build` makes, its weights not initialized; VitqError blames `source`."""
    with _blaming(source), _NothingRandom():
        return build()


@contextmanager
def _blaming(source: str) -> Iterator[None]:
    try:
        yield
    except MISFITS as error:
        raise VitqError(f"{source} does not fit timm: {brief(error)}") from error
