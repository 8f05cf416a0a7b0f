"""A model cut into segments that run one after the other, each alone on what the one before gave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..common.batch import Batch
from ..common.hooks import hooked

Run = Callable[[nn.Module, Batch, Any], Any]  # (model, batch, what the segment before gave)


@dataclass(frozen=True)
class Segment:
    """``run`` takes any model with the same names. The first segment passes its stream over; the last gives
    what the model gives."""

    run: Run
    last: bool = False


@dataclass(frozen=True)
class _Call:
    """Of a block, in one forward."""

    block: str
    args: tuple
    kwargs: dict[str, Any]
    output: Any


class _Captured(Exception):
    def __init__(self, value: Tensor) -> None:
        self.value = value


def segments(module: nn.Module, blocks: list[str], batch: Batch) -> list[Segment]:
    """What is before the ``blocks``, each block, and what is after or between them.

    ``batch``: shows in which order blocks run. Where they do not run once each, in their
    order, on nothing but what the one before returned, the whole model is one segment.
    """
    calls = _calls(module, blocks, batch)
    alone = all(_is_single(call) for call in calls)
    handed_on = alone and all(after.args[0] is before.output for before, after in pairwise(calls))
    if [call.block for call in calls] != blocks or not blocks or not handed_on:
        return [Segment(lambda model, batch, _: batch.through(model), last=True)]
    return [
        Segment(lambda model, batch, _: _stem(model, blocks[0], batch)),
        *(Segment(partial(_block, call.block, call.args[1:], call.kwargs)) for call in calls),
        Segment(lambda model, batch, stream: _tail(model, blocks, batch, stream), last=True),
    ]


def _calls(module: nn.Module, blocks: list[str], batch: Batch) -> list[_Call]:
    """Of the ``blocks``, as they come in a forward."""
    calls: list[_Call] = []
    given: dict[str, tuple[tuple, dict]] = {}

    def enter(name: str) -> Callable:
        return lambda _, args, kwargs: given.__setitem__(name, (args, kwargs))

    def leave(name: str) -> Callable:
        return lambda _, __, output: calls.append(_Call(name, *given[name], output))

    parts = {name: module.get_submodule(name) for name in blocks}
    before = [(part, enter(name)) for name, part in parts.items()]
    after = [(part, leave(name)) for name, part in parts.items()]
    with torch.no_grad(), hooked(*after, before=before, with_kwargs=True):
        batch.through(module)
    return calls


def _is_single(call: _Call) -> bool:
    """Whether it has one tensor, its first argument: what else it has is the same for all pictures."""
    tensors = [leaf for leaf in tree_leaves((call.args, call.kwargs)) if isinstance(leaf, Tensor)]
    return len(tensors) == 1 and bool(call.args) and call.args[0] is tensors[0]


def _stem(model: nn.Module, block: str, batch: Batch) -> Tensor:
    """What the first block is given."""

    def capture(_: nn.Module, args: tuple) -> None:
        raise _Captured(args[0])

    try:
        with hooked(before=[(model.get_submodule(block), capture)]):
            batch.through(model)
    except _Captured as captured:
        return captured.value
    raise RuntimeError("the model's forward does not run the blocks its family names")


def _block(
    name: str, others: tuple, kwargs: dict[str, Any], model: nn.Module, _: Batch, stream: Tensor
) -> Tensor:
    return model.get_submodule(name)(stream, *others, **kwargs)


def _tail(model: nn.Module, blocks: list[str], batch: Batch, stream: Tensor) -> Any:
    with _bypassed([model.get_submodule(name) for name in blocks], stream):
        return batch.through(model)


@contextmanager
def _bypassed(blocks: list[nn.Module], output: Tensor) -> Iterator[None]:
    """The last of the ``blocks`` gives ``output``; none of them is run."""
    for block in blocks:
        block.forward = lambda x, *_, **__: x
    blocks[-1].forward = lambda *_, **__: output
    try:
        yield
    finally:
        for block in blocks:
            del block.forward
