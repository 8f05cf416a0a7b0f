"""A model cut into segments that run one after the other, each alone on what the one before gave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..common.batch import Batch
from ..common.hooks import hooked
from .faithful import TOLERANCE, distance, tensors_of

Stream = Any  # what one segment hands to the next: a tree of tensors
Run = Callable[[nn.Module, Batch, Stream], Any]  # (model, batch, what the segment before gave)
CALL = "_compiled_call_impl"  # what torch calls in place of a module's forward and hooks, where it is set


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
    def __init__(self, value: tuple) -> None:
        self.value = value


def segments(module: nn.Module, blocks: list[str], batch: Batch) -> list[Segment]:
    """What is before the ``blocks``, each block with what follows up to the next, and what is after them.

    ``batch``: of one picture; shows in which order blocks run. A stream is what the next block is called
    with. Where blocks do not run once each, in their order, or need more of those before them than the last
    one's output, the whole model is one segment.
    """
    calls = _calls(module, blocks, batch)
    whole = [Segment(lambda model, batch, _: batch.through(model), last=True)]
    if not blocks or [call.block for call in calls] != blocks or not all(map(_passes_on, calls)):
        return whole
    found = [
        Segment(partial(_until, {}, blocks[0], None)),
        *(_between(calls, index) for index in range(len(calls) - 1)),
        Segment(lambda model, _, stream: _called(model, blocks[-1], stream)),
        Segment(partial(_tail, _streams(calls)), last=True),
    ]
    return found if _same(found, module, batch) else whole


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


def _passes_on(call: _Call) -> bool:
    """Whether it gives tensors of the shapes of its first arguments, which may stand for it once it is done,
    and takes no other tensor that stays the same for all pictures."""
    outputs = _as_tuple(call.output)
    firsts = call.args[: len(outputs)]
    tensors = [leaf for leaf in tree_leaves((call.args, call.kwargs)) if isinstance(leaf, Tensor)]
    if len(outputs) == 1 and len(tensors) != 1:
        return False
    pairs = zip(firsts, outputs, strict=False)
    return len(firsts) == len(outputs) and all(
        isinstance(given, Tensor) and isinstance(output, Tensor) and given.shape == output.shape
        for given, output in pairs
    )


def _as_tuple(output: Any) -> tuple:
    return output if isinstance(output, tuple) else (output,)


def _handed_on(before: _Call, after: _Call) -> bool:
    """Whether the one's output is all that the other takes: nothing stands between them."""
    tensors = [leaf for leaf in tree_leaves((after.args, after.kwargs)) if isinstance(leaf, Tensor)]
    return len(tensors) == 1 and after.args[0] is before.output


def _between(calls: list[_Call], index: int) -> Segment:
    """A block, and what follows it up to the next one's call."""
    call, following = calls[index : index + 2]
    if _handed_on(call, following):
        return Segment(partial(_handing_on, call.block, following.args[1:], following.kwargs))
    return Segment(partial(_and_until, _streams(calls[: index + 1]), following.block))


def _streams(calls: list[_Call]) -> dict[str, int]:
    """{block: how many tensors it gives}."""
    return {call.block: len(_as_tuple(call.output)) for call in calls}


def _called(model: nn.Module, block: str, stream: Stream) -> Any:
    args, kwargs = stream
    return model.get_submodule(block)(*args, **kwargs)


def _handing_on(
    block: str, others: tuple, kwargs: dict[str, Any], model: nn.Module, _: Batch, stream: Stream
) -> Stream:
    return (_called(model, block, stream), *others), kwargs


def _and_until(done: dict[str, int], block: str, model: nn.Module, batch: Batch, stream: Stream) -> Stream:
    return _until(done, block, _called(model, [*done][-1], stream), model, batch, None)


def _until(
    done: dict[str, int], block: str, output: Any, model: nn.Module, batch: Batch, _: Stream
) -> Stream:
    """What ``block`` is called with; of the blocks ``done`` the last gives ``output``."""

    def capture(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        raise _Captured((args, kwargs))

    try:
        with (
            bypassed(model, done, output),
            hooked(before=[(model.get_submodule(block), capture)], with_kwargs=True),
        ):
            batch.through(model)
    except _Captured as captured:
        return captured.value
    raise RuntimeError("the model's forward does not run the blocks its family names")


def _tail(done: dict[str, int], model: nn.Module, batch: Batch, output: Any) -> Any:
    with bypassed(model, done, output):
        return batch.through(model)


@contextmanager
def bypassed(model: nn.Module, done: dict[str, int], output: Any) -> Iterator[None]:
    """The last of the blocks ``done`` gives ``output``, the others their own first arguments; none is run,
    nor are its hooks, which heard of it when it was."""
    blocks = [model.get_submodule(name) for name in done]
    for block, streams in zip(blocks, done.values(), strict=True):
        setattr(block, CALL, _one_stream if streams == 1 else partial(_streams_of, streams))
    if blocks:
        setattr(blocks[-1], CALL, lambda *_, **__: output)
    try:
        yield
    finally:
        for block in blocks:
            delattr(block, CALL)


def _one_stream(x: Tensor, *_: Any, **__: Any) -> Tensor:
    return x


def _streams_of(count: int, *args: Any, **_: Any) -> tuple:
    return args[:count]


def _same(found: list[Segment], module: nn.Module, batch: Batch) -> bool:
    """Whether segment after segment gives what the model gives."""
    stream = None
    with torch.no_grad():
        for segment in found:
            stream = segment.run(module, batch, stream)
        expected = batch.through(module)
    pairs = zip(tensors_of(stream), tensors_of(expected), strict=True)
    return all(distance(*pair) <= TOLERANCE for pair in pairs)
