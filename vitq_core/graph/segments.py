"""A model cut into its stem, its blocks and its tail, each runnable alone on stored activations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise

from torch import Tensor, nn

from ..common.hooks import hooked


class _Captured(Exception):
    def __init__(self, value: Tensor) -> None:
        self.value = value


def runs_in_sequence(module: nn.Module, blocks: list[nn.Module], picture: Tensor) -> bool:
    """Whether each block runs once, on nothing but what the one before returned."""
    passed: list[tuple[nn.Module, tuple, Tensor]] = []
    with hooked(*((block, lambda *call: passed.append(call)) for block in blocks)):
        module(picture)
    order = [block for block, _, _ in passed] == blocks
    handed_on = all(len(inputs) == 1 for _, inputs, _ in passed) and all(
        after[1][0] is before[2] for before, after in pairwise(passed)
    )
    return bool(blocks) and order and handed_on


def stem(module: nn.Module, blocks: list[nn.Module]) -> Callable[[Tensor], Tensor]:
    """Pictures → input of the first block."""

    def capture(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        raise _Captured(inputs[0])

    def run(pictures: Tensor) -> Tensor:
        try:
            with hooked(before=[(blocks[0], capture)]):
                module(pictures)
        except _Captured as captured:
            return captured.value
        raise RuntimeError("the model's forward does not run the blocks its family names")

    return run


def tail(module: nn.Module, blocks: list[nn.Module]) -> Callable[[tuple[Tensor, Tensor]], Tensor]:
    """(pictures, output of the last block) → output of the model; the blocks are not run."""

    def run(item: tuple[Tensor, Tensor]) -> Tensor:
        pictures, activation = item
        with _bypassed(blocks, activation):
            return module(pictures)

    return run


@contextmanager
def _bypassed(blocks: list[nn.Module], output: Tensor) -> Iterator[None]:
    for block in blocks:
        block.forward = lambda x, *_, **__: x
    blocks[-1].forward = lambda *_, **__: output
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


class Paired(Iterable):
    """Two streams side by side, restartable."""

    def __init__(self, first: Iterable, second: Iterable) -> None:
        self._first, self._second = first, second

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self._first, self._second, strict=True)
