"""Work in pieces of bounded size, and with plain numbers where they will do."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

PIECE = 2**17  # values a search simulates at a time: they stay in a core's second-level cache
TOGETHER = 2**20  # values a model simulates at a time: fewer calls are worth more there

Simulate = Callable[[Tensor, Tensor], object]  # from (source) into (target), which may be the same memory


def in_pieces(parameters: Iterable[Tensor], *tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """``tensors`` cut alike along the batch; they stay whole where ``parameters`` differ along that axis."""
    x = tensors[0]
    if x.numel() <= TOGETHER or x.is_cuda:
        return (tensors,)
    if any(parameter.ndim == x.ndim and parameter.shape[0] > 1 for parameter in parameters):
        return (tensors,)
    rows = max(1, TOGETHER * len(x) // x.numel())
    return zip(*(tensor.split(rows) for tensor in tensors), strict=True)


def plain_numbers(*parameters: Tensor) -> tuple[Tensor, ...] | tuple[float, ...]:
    """As plain numbers where each is a single one: those take the processor's vector instructions."""
    if any(parameter.numel() > 1 or parameter.is_cuda for parameter in parameters):
        return parameters
    return tuple(parameter.item() for parameter in parameters)
