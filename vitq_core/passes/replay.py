"""Outputs of modules that are calibrated, kept so that later rounds over the pictures need not compute them
again: between two rounds only what comes after the last fitted layer changes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ..data.store import TreeStore
from ..graph.segments import CALL
from ..graph.site import Layer
from ..quantized.simulation import Simulation


class Replay:
    """Of a segment, as a context: a module all of whose quantizers were fitted inside runs once for each
    chunk of pictures; asked again, it gives what it gave.

    Modules without weights run again: an attention map is larger than all that it is made of. ``blocks``:
    names of modules that start segments; neither they nor what holds them is kept.
    """

    def __init__(self, simulation: Simulation, blocks: Collection[str]) -> None:
        self._simulation = simulation
        self._layers = _layers_inside(simulation, blocks)
        self._unfitted = [*simulation.layers.values()]
        self._before: set[str] = set()
        self._kept: dict[str, _Kept] = {}

    def __enter__(self) -> Replay:
        self._before = self._fitted()
        return self

    def __exit__(self, *error: object) -> None:
        for name in [*self._kept]:
            self._forget(name)

    def begin_round(self) -> None:
        """The quantizers that were fitted since the last round stay as they are."""
        for name in [*self._kept]:
            if any(name.startswith(f"{other}.") and len(self._kept[other]) for other in self._kept):
                self._forget(name)
        fitted = self._fitted() - self._before - self._kept.keys()
        for name in sorted(fitted):
            if not any(name.startswith(f"{other}.") for other in fitted | self._kept.keys()):
                module = self._simulation.layer(name)
                self._kept[name] = _Kept(module)
                setattr(module, CALL, self._kept[name])

    def begin_chunk(self, number: int) -> None:
        for kept in self._kept.values():
            kept.chunk, kept.calls = number, 0

    def _fitted(self) -> set[str]:
        """The modules in which nothing is left to fit."""
        self._unfitted = [layer for layer in self._unfitted if not self._is_fitted(layer)]
        left = {layer.name for layer in self._unfitted}
        return {name for name, inside in self._layers.items() if left.isdisjoint(inside)}

    def _is_fitted(self, layer: Layer) -> bool:
        return all(self._simulation.quantizer(site).fitted for site in layer.sites)

    def _forget(self, name: str) -> None:
        self._kept.pop(name).store.close()
        delattr(self._simulation.layer(name), CALL)


class _Kept:
    """What a module gave; stands in its place. A module may run several times for a chunk."""

    def __init__(self, module: nn.Module) -> None:
        self._run = module._call_impl
        self.store = TreeStore()
        self.chunk, self.calls = 0, 0
        self._outputs: dict[tuple[int, int], Any] = {}

    def __len__(self) -> int:
        return len(self._outputs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        place = self.chunk, self.calls
        self.calls += 1
        if place not in self._outputs:
            output = self._run(*args, **kwargs)
            self._outputs[place] = self.store.append(output)
            return output
        # A copy: whoever reads it may quantize it in place.
        return tree_map_only(Tensor, Tensor.clone, self.store.tree(self._outputs[place]))


def _layers_inside(simulation: Simulation, blocks: Collection[str]) -> dict[str, set[str]]:
    """{module: the layers that it is or holds}, of those with weights."""
    weighted = [name for name, layer in simulation.layers.items() if layer.weight is not None]
    found: dict[str, set[str]] = {}
    for layer in weighted:
        parts = layer.split(".")
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            if not any(block == name or block.startswith(f"{name}.") for block in blocks):
                found.setdefault(name, set())
    for layer in simulation.layers:
        for name, inside in found.items():
            if layer == name or layer.startswith(f"{name}."):
                inside.add(layer)
    return found
