"""What every unit is given and should give: activations of the float twin and of the quantized model.

The two models walk side by side, segment by segment (what is before the blocks, each block, what is after),
so that a block is not reached through all those before it. A model that does not run as a chain is one
segment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..common.errors import VitqError
from ..common.hooks import hooked
from ..data.store import Cache, Rows
from ..graph.segments import runs_as_chain, stem, tail
from ..graph.site import Unit
from .losses import tempered

CHUNK = 32  # pictures that run through a segment at a time
Run = Callable[[nn.Module, Tensor, Tensor], Tensor]  # (model, pictures, stream) → the segment's output


@dataclass
class Feed:
    """What one unit is trained on, one row per picture.

    ``given``: its input in the quantized model, ``clean``: in the float one, ``wanted``: the float output,
    ``maps``: the float outputs of its softmaxes, tempered, where asked for; ``options``: the other arguments
    of its forward; ``weights``: how much each element of an output counts; None: all the same.
    """

    given: Rows
    clean: Rows
    wanted: Rows
    maps: list[Rows]
    options: dict[str, Any] = field(default_factory=dict)
    weights: Tensor | None = None

    @property
    def trained(self) -> int:
        """How many rows, from the front, are trained on; the others only measure, where there are enough."""
        held_out = self.given.count // 8
        return self.given.count - held_out if held_out >= CHUNK else self.given.count

    def measured(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(given, wanted) of the rows that measure the error."""
        start = self.trained % self.given.count
        yield from zip(self.given.split(size, start), self.wanted.split(size, start), strict=True)

    def close(self) -> None:
        for rows in (self.given, self.clean, self.wanted, *self.maps):
            rows.close()


class Walk:
    """Iterates over (unit, function that gathers its feed); finish each unit before taking the next."""

    def __init__(
        self,
        quantized: nn.Module,
        twin: nn.Module,
        units: list[Unit],
        chain: list[str],
        pictures: Rows,
        temperature: float | None = None,
    ) -> None:
        """``quantized`` and ``twin`` name their modules alike; ``pictures``: rows [C, H, W].

        ``temperature``: of the attention maps; without one, feeds have none.
        """
        self._temperature = temperature
        self._quantized, self._twin, self._pictures = quantized, twin, pictures
        self._cache: Cache = pictures.cache
        self._device = next(quantized.parameters()).device
        self._segments = _segments(twin, units, chain, next(pictures.split(1)).to(self._device))

    def __iter__(self) -> Iterator[tuple[Unit, Callable[[], Feed]]]:
        clean = given = self._pictures
        for units, run in self._segments:
            for unit in units:
                yield unit, lambda unit=unit, run=run: self._feed(unit, run, clean, given)  # noqa: B023
            if run is not self._segments[-1][1]:
                clean, given = (
                    self._through(self._twin, run, clean),
                    self._through(self._quantized, run, given),
                )
        for stream in (clean, given):
            self._close(stream)

    def whole(self) -> Feed:
        """The feed of the whole model, whose inputs are the pictures."""
        return self._feed(
            Unit(""), lambda model, pictures, _: model(pictures), self._pictures, self._pictures
        )

    def _close(self, stream: Rows) -> None:
        if stream is not self._pictures:
            stream.close()

    def _through(self, model: nn.Module, run: Run, stream: Rows) -> Rows:
        outputs = self._cache.rows(stream.count)
        with torch.no_grad():
            for pictures, chunk in self._chunks(stream):
                outputs.append(run(model, pictures, chunk))
        self._close(stream)
        return outputs

    def _chunks(self, stream: Rows) -> Iterator[tuple[Tensor, Tensor]]:
        for pictures, chunk in zip(self._pictures.split(CHUNK), stream.split(CHUNK), strict=True):
            yield pictures.to(self._device), chunk.to(self._device)

    def _feed(self, unit: Unit, run: Run, clean: Rows, given: Rows) -> Feed:
        watched = _Watched(self._twin, unit, self._cache, clean.count, self._temperature)
        with watched.until_output():
            self._run_all(self._twin, run, clean)
        entering = _Watched(self._quantized, unit, self._cache, clean.count)
        with entering.until_input():
            self._run_all(self._quantized, run, given)
        return Feed(entering.inputs, watched.inputs, watched.outputs, watched.maps, watched.options)

    def _run_all(self, model: nn.Module, run: Run, stream: Rows) -> None:
        with torch.no_grad():
            for pictures, chunk in self._chunks(stream):
                try:
                    run(model, pictures, chunk)
                except _Reached:
                    continue


class _Reached(Exception):
    """The unit has been seen; what comes after it is not needed."""


class _Watched:
    """Collects what enters and leaves a unit, then stops the forward."""

    def __init__(
        self, model: nn.Module, unit: Unit, cache: Cache, count: int, temperature: float | None = None
    ) -> None:
        self._model, self._unit, self._temperature = model, unit, temperature
        self._target = model.get_submodule(unit.name)
        self.inputs, self.outputs = cache.rows(count), cache.rows(count)
        self._softmaxes = () if temperature is None else unit.softmaxes
        self.maps = [cache.rows(count) for _ in self._softmaxes]
        self.options: dict[str, Any] = {}

    def until_input(self) -> AbstractContextManager:
        return hooked(before=[(self._target, self._enter_and_stop)], with_kwargs=True)

    def until_output(self) -> AbstractContextManager:
        maps = [
            (self._model.get_submodule(name), partial(self._keep_map, rows))
            for name, rows in zip(self._softmaxes, self.maps, strict=True)
        ]
        hooks = [(self._target, self._leave), *maps]
        return hooked(*hooks, before=[(self._target, self._enter)], with_kwargs=True)

    def _enter(self, _: nn.Module, inputs: tuple, options: dict[str, Any]) -> None:
        if len(inputs) != 1 or any(isinstance(value, Tensor) for value in options.values()):
            raise VitqError(f"{self._unit.name} takes more than one tensor, so it cannot be reconstructed")
        self.inputs.append(inputs[0])
        self.options = options

    def _enter_and_stop(self, *call: Any) -> None:
        self._enter(*call)
        raise _Reached

    def _keep_map(self, rows: Rows, _: nn.Module, __: tuple, output: Tensor) -> None:
        rows.append(tempered(output, self._temperature))

    def _leave(self, _: nn.Module, __: tuple, output: Tensor) -> None:
        self.outputs.append(output)
        raise _Reached


def _segments(
    model: nn.Module, units: list[Unit], chain: list[str], picture: Tensor
) -> list[tuple[list[Unit], Run]]:
    """The units of each stretch that runs alone, in forward order, with the function that runs it."""
    links = [model.get_submodule(name) for name in chain]
    with torch.no_grad():
        chained = runs_as_chain(model, links, picture)
    if not chained:
        return [(units, lambda model, pictures, _: model(pictures))]

    def of(model: nn.Module) -> list[nn.Module]:
        return [model.get_submodule(name) for name in chain]

    inside = {name: [unit for unit in units if Unit(name).holds(unit.name)] for name in chain}
    outside = [unit for unit in units if not any(unit in held for held in inside.values())]
    early = _reached_before(model, links[0], outside, picture)
    return [
        (early, lambda model, pictures, _: stem(model, of(model))(pictures)),
        *((held, _link(name)) for name, held in inside.items()),
        (
            [unit for unit in outside if unit not in early],
            lambda model, pictures, stream: tail(model, of(model))((pictures, stream)),
        ),
    ]


def _link(name: str) -> Run:
    return lambda model, _, stream: model.get_submodule(name)(stream)


def _reached_before(model: nn.Module, link: nn.Module, units: list[Unit], picture: Tensor) -> list[Unit]:
    reached: list[Unit] = []
    hooks = [(model.get_submodule(unit.name), lambda *_, unit=unit: reached.append(unit)) for unit in units]
    with torch.no_grad(), hooked(*hooks):
        stem(model, [link])(picture)
    return reached
