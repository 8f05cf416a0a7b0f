"""A model cut into its stem, its chain of modules and its tail, each runnable alone on stored activations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise

from torch import Tensor, nn

from ..common.hooks import hooked


class _Captured(Exception):
    def __init__(self, value: Tensor) -> None:
        self.value = value


def runs_as_chain(module: nn.Module, chain: list[nn.Module], picture: Tensor) -> bool:
    """Whether each module of the chain runs once, on nothing but what the one before returned."""
    passed: list[tuple[nn.Module, tuple, Tensor]] = []
    with hooked(*((link, lambda *call: passed.append(call)) for link in chain)):
        module(picture)
    order = [link for link, _, _ in passed] == chain
    handed_on = all(len(inputs) == 1 for _, inputs, _ in passed) and all(
        after[1][0] is before[2] for before, after in pairwise(passed)
    )
    return bool(chain) and order and handed_on


def stem(module: nn.Module, chain: list[nn.Module]) -> Callable[[Tensor], Tensor]:
    """Pictures → input of the first module of the chain."""

    def capture(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        raise _Captured(inputs[0])

    def run(pictures: Tensor) -> Tensor:
        try:
            with hooked(before=[(chain[0], capture)]):
                module(pictures)
        except _Captured as captured:
            return captured.value
        raise RuntimeError("the model's forward does not run the chain its family names")

    return run


def tail(module: nn.Module, chain: list[nn.Module]) -> Callable[[tuple[Tensor, Tensor]], Tensor]:
    """(pictures, output of the chain's last module) → output of the model; the chain itself is not run."""

    def run(item: tuple[Tensor, Tensor]) -> Tensor:
        pictures, activation = item
        with _bypassed(chain, activation):
            return module(pictures)

    return run


@contextmanager
def _bypassed(chain: list[nn.Module], output: Tensor) -> Iterator[None]:
    for module in chain:
        module.forward = lambda x, *_, **__: x
    chain[-1].forward = lambda *_, **__: output
    try:
        yield
    finally:
        for module in chain:
            del module.forward


class Paired(Iterable):
    """Two streams side by side, restartable."""

    def __init__(self, first: Iterable, second: Iterable) -> None:
        self._first, self._second = first, second

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self._first, self._second, strict=True)
