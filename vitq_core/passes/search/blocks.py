"""Scales of a block's layers by what they do to the block's output, one layer after the other (APQ-ViT, arXiv
2303.14341)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from ...common.hooks import hooked
from ...graph.segments import CALL
from ...quantized.simulation import Simulation
from .descent import alternate, closed_in, least
from .elimination import metric
from .layer import SearchedLayer
from .operand import Operand
from .product import Calls


@dataclass(frozen=True)
class BlockPiece:
    """A few pictures: what a block is called with, what it should give, and the gradients there."""

    args: tuple
    kwargs: dict[str, Any]
    targets: list[Tensor]
    gradients: list[Tensor]

    @property
    def energy(self) -> float:
        return sum(float(gradient.square().sum()) for gradient in self.gradients)


def heard(pieces: list[BlockPiece]) -> list[BlockPiece]:
    """With gradients of 1 where there are none at all."""
    if any(piece.energy for piece in pieces):
        return pieces
    return [replace(piece, gradients=[torch.ones_like(g) for g in piece.gradients]) for piece in pieces]


class BlockSearch:
    """Of the block ``name``, on ``pieces``; layers that are settled stay as they are.

    All groups of an operand (heads, thirds of qkv) take the same factor of their own ranges: at the block's
    output their errors cannot be told apart. ``all_tried``: whether every candidate is, or first a few.
    """

    def __init__(
        self, simulation: Simulation, name: str, pieces: list[BlockPiece], rounds: int, all_tried: bool
    ) -> None:
        self._simulation, self._name = simulation, name
        self._block = simulation.module.get_submodule(name)
        self._pieces = sorted(heard(pieces), key=lambda piece: -piece.energy)
        self._rounds, self._all_tried = rounds, all_tried
        self._settled: list[str] = []
        self._given: dict[str, list[list[Any]]] = {}  # by module: for each piece what it gave, call by call

    def inputs(self, layer: str) -> Calls:
        """What reaches the layer, with all before it as it is now; that is kept, so as not to run again."""
        found: list[tuple[Tensor, ...]] = []
        operands = len(self._simulation.layers[layer].inputs)
        ended = self._ended()
        given: dict[str, list[list[Any]]] = {name: [] for name in ended}

        def keep(name: str) -> Callable:
            return lambda part, inputs, output: given[name][-1].append(
                tree_map_only(Tensor, Tensor.clone, output)
            )

        def watch(part: nn.Module, inputs: tuple) -> None:
            found.append(tuple(x.clone() for x in inputs[:operands]))

        parts = [(self._simulation.layer(name), keep(name)) for name in ended if name not in self._given]
        with hooked(*parts, before=[(self._simulation.layer(layer), watch)]):
            for number, _ in enumerate(self._pieces):
                for outputs in given.values():
                    outputs.append([])
                self._run(number)
        kept = {name: self._given.get(name) or given[name] for name in ended}
        self._given = kept
        return Calls(found, [])

    def search(self, found: SearchedLayer) -> None:
        """Choose and settle the candidates of a layer whose operands are proposed."""
        first, second = found.operands[::-1] if found.right_first else found.operands
        self._use(found, second, begin=True)
        alternate(first, second, lambda operand, _: self._best(found, operand), self._rounds)
        self._settled.append(found.layer.name)

    def _best(self, found: SearchedLayer, operand: Operand) -> Tensor:
        """[groups]: the number of the best candidate, the same for all groups."""
        error = cache(partial(self._error, found, operand))

        def best_of(numbers: Tensor) -> int:
            def errors(piece: int, chosen: Tensor) -> Tensor:
                return torch.stack([error(piece, int(numbers[n])) for n in chosen])[:, None]

            return int(least(errors, len(self._pieces), len(numbers)))

        count = operand.candidates
        best = best_of(torch.arange(count)) if self._all_tried else closed_in(count, best_of, operand.near)
        operand.choose(torch.full((operand.groups,), best))
        self._use(found, operand)
        return operand.chosen

    def _error(self, found: SearchedLayer, operand: Operand, piece: int, number: int) -> Tensor:
        operand.choose(torch.full((operand.groups,), number))
        self._use(found, operand)
        outputs, wanted = self._run(piece), self._pieces[piece]
        triples = zip(outputs, wanted.targets, wanted.gradients, strict=True)
        return sum(metric((output - target)[None], gradient)[0] for output, target, gradient in triples)

    def _use(self, found: SearchedLayer, operand: Operand, begin: bool = False) -> None:
        """Let the block run with what is chosen of the operand."""
        if begin:
            operand.begin()
        if operand.searched:
            operand.settle(found.shapes[operand.site])
            if operand is found.right and found.right_first:
                name = found.layer.name
                self._simulation.simulated_weight(name).refresh(self._simulation.float_weight(name))

    def _run(self, number: int) -> list[Tensor]:
        piece = self._pieces[number]
        with self._replayed(number), torch.no_grad():
            return floats(self._block(*piece.args, **piece.kwargs))

    def _ended(self) -> list[str]:
        """The largest modules of the block of which every layer is settled."""
        inside = [layer for layer in self._simulation.layers if layer.startswith(f"{self._name}.")]
        ended: list[str] = []
        for part, _ in self._block.named_modules():
            name = f"{self._name}.{part}"
            layers = [layer for layer in inside if layer == name or layer.startswith(f"{name}.")]
            covered = any(name.startswith(f"{other}.") for other in ended)
            if part and layers and not covered and all(layer in self._settled for layer in layers):
                ended.append(name)
        return ended

    @contextmanager
    def _replayed(self, number: int) -> Iterator[None]:
        """Modules that ran before give what they gave for the piece."""
        parts = {self._simulation.layer(name): iter(given[number]) for name, given in self._given.items()}
        for part, outputs in parts.items():
            setattr(part, CALL, lambda *_, o=outputs, **__: tree_map_only(Tensor, Tensor.clone, next(o)))
        try:
            yield
        finally:
            for part in parts:
                delattr(part, CALL)


def floats(output: Any) -> list[Tensor]:
    """The tensors of numbers in what a block gives."""
    return [x for x in tree_leaves(output) if isinstance(x, Tensor) and x.is_floating_point()]
