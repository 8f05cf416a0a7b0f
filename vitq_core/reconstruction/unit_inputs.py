"""What every unit is given and should give: activations of the float model and of the quantized one.

Both models run segment by segment (what is before the blocks, each block, what is after), so that a block is
not reached through all those before it. A model whose blocks do not run one after the other is one segment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..common.batch import Batch
from ..common.errors import VitqError
from ..common.hooks import hooked
from ..data.calibration_set import PictureStore
from ..data.store import TreeStore
from ..graph.segments import Segment, segments
from ..graph.site import Unit
from ..tasks import Task
from .losses import tempered
from .weighting import Weigh

CHUNK = 32  # pictures that run through a unit at a time where its error is measured


def trained_of(count: int) -> int:
    """How many of ``count`` pictures, from the front, are learned from; the others only measure.

    An eighth measures; of few pictures a quarter, or a unit that learned them by heart would be kept. Of
    fewer than CHUNK none can be spared: all are learned from and measure.
    """
    return count if count < CHUNK else count - max(count // 8, min(count // 4, CHUNK))


@dataclass
class UnitData:
    """What one unit is trained on, a row for each picture; ``pictures`` made them.

    ``quant_input``: what it is called with in the quantized model, (args, kwargs), ``fp_input``: in the float
    one, ``target``: the float output, a tensor or a tuple of them, ``maps``: the float outputs of its
    softmaxes, tempered, where asked for; ``weights``: of a target, how much each element counts; None: all
    the same.

    ``task``: of a whole model, whose loss counts; ``target`` then holds its answers by name.
    """

    pictures: PictureStore
    quant_input: TreeStore | PictureStore
    fp_input: TreeStore | PictureStore
    target: TreeStore
    maps: list[TreeStore]
    weights: Weigh | None = None
    task: Task | None = None

    @property
    def trained(self) -> int:
        """How many rows, from the front, are trained on; the others only measure."""
        return trained_of(len(self.pictures))

    @property
    def together(self) -> int:
        """How many rows may be read at a time."""
        return 1 if self.pictures.rows is None else len(self.pictures)

    def measured(self, size: int) -> Iterator[Tensor]:
        """The numbers of the rows that measure the error, ``size`` at a time."""
        return self.numbers(size, self.trained % len(self.pictures))

    def numbers(self, size: int, start: int = 0) -> Iterator[Tensor]:
        """Of the rows from ``start`` on, ``size`` at a time."""
        return iter(torch.arange(start, len(self.pictures)).split(min(size, self.together)))

    def close(self) -> None:
        for store in (self.quant_input, self.fp_input, self.target, *self.maps):
            store.close()


class UnitInputs:
    """Iterates over (unit, function that gathers its data); finish each unit before taking the next."""

    def __init__(
        self,
        quantized: nn.Module,
        fp_model: nn.Module,
        units: list[Unit],
        blocks: list[str],
        pictures: PictureStore,
        temperature: float | None = None,
        fp_inputs: bool = True,
    ) -> None:
        """``quantized`` and ``fp_model`` name their modules alike.

        Pictures run through a segment as many at a time as they were appended. ``temperature``: of the
        attention maps; without one, none are kept. ``fp_inputs``: whether a unit's input in the float model
        is wanted too.
        """
        self._temperature, self._fp_inputs = temperature, fp_inputs
        self._quantized, self._fp_model, self._pictures = quantized, fp_model, pictures
        self._segments = _units_by_segment(fp_model, units, blocks, pictures[torch.tensor([0])])

    def __iter__(self) -> Iterator[tuple[Unit, Callable[[], UnitData]]]:
        fp_stream = quant_stream = None
        for segment, units in self._segments:
            expected = _Expected(self, units, segment, fp_stream)
            for unit in units:
                yield unit, lambda unit=unit, expected=expected: self._gather(unit, expected, quant_stream)  # noqa: B023
            if not segment.last:
                entered, fp_stream = quant_stream, expected.following()
                quant_stream = self._through(self._quantized, segment, entered)
                _close(entered)
            expected.close()
        for stream in (fp_stream, quant_stream):
            _close(stream)

    def whole(self, task: Task) -> UnitData:
        """The data of the whole model, whose inputs are the pictures: they are closed with it, so it is last.

        The targets are what ``task`` reads off the float model. Raises NotFinite where that is no number.
        """
        answers, pictures = self._pictures.new(), self._pictures
        with torch.no_grad():
            for batch in pictures:
                answers.append(task.run(self._fp_model, batch))
        return UnitData(pictures, pictures, pictures, answers, [], task=task)

    def _through(self, model: nn.Module, segment: Segment, stream: TreeStore | None) -> TreeStore:
        outputs = self._pictures.new()
        with torch.no_grad():
            for batch, given in self._chunks(stream):
                outputs.append(segment.run(model, batch, given))
        return outputs

    def _chunks(self, stream: TreeStore | None) -> Iterator[tuple[Batch, Any]]:
        """The pictures with what enters a segment; None: the first."""
        if stream is None:
            return ((batch, None) for batch in self._pictures)
        return zip(self._pictures, stream, strict=True)

    def _gather(self, unit: Unit, expected: _Expected, quant_stream: TreeStore | None) -> UnitData:
        watched = expected.of(unit)
        entering = _Watched(self._quantized, unit, self._pictures)
        with entering.until_input():
            self._run_all(self._quantized, expected.segment, quant_stream)
        return UnitData(self._pictures, entering.inputs, watched.inputs, watched.outputs, watched.maps)

    def _run_all(self, model: nn.Module, segment: Segment, stream: TreeStore | None) -> None:
        """Up to where a hook says that all was seen."""
        with torch.no_grad():
            for batch, given in self._chunks(stream):
                with suppress(_Reached):
                    segment.run(model, batch, given)

    def _watched(self, unit: Unit) -> _Watched:
        """In the float model."""
        return _Watched(self._fp_model, unit, self._pictures, self._temperature, self._fp_inputs)


def _close(stream: TreeStore | None) -> None:
    if stream is not None:
        stream.close()


class _Expected:
    """What the float model gives in one segment. It runs when it is first asked for, once for all units, and
    where there are several also for the segment after it."""

    def __init__(
        self, inputs: UnitInputs, units: list[Unit], segment: Segment, stream: TreeStore | None
    ) -> None:
        self.segment = segment
        self._inputs, self._units, self._stream = inputs, units, stream
        self._watched: dict[Unit, _Watched] = {}
        self._output: TreeStore | None = None

    def of(self, unit: Unit) -> _Watched:
        """What enters and leaves it; the caller closes that."""
        if not self._watched:
            self._watch(self._units[self._units.index(unit) :])
        return self._watched.pop(unit)

    def _watch(self, units: list[Unit]) -> None:
        inputs = self._inputs
        self._watched = {unit: inputs._watched(unit) for unit in units}
        *others, final = self._watched.values()
        go_on = bool(others) and not self.segment.last
        with ExitStack() as stack:
            for watched in others:
                stack.enter_context(watched.throughout())
            stack.enter_context(final.throughout() if go_on else final.until_output())
            if go_on:
                self._output = inputs._through(inputs._fp_model, self.segment, self._stream)
            else:
                inputs._run_all(inputs._fp_model, self.segment, self._stream)

    def following(self) -> TreeStore:
        """What the segment gives; what it was given is closed."""
        output, self._output = self._output, None
        if output is None:
            output = self._inputs._through(self._inputs._fp_model, self.segment, self._stream)
        _close(self._stream)
        return output

    def close(self) -> None:
        """What nobody asked for."""
        for watched in self._watched.values():
            watched.close()
        if self._output is not None:
            self._output.close()


class _Reached(Exception):
    """The unit has been seen; what comes after it is not needed."""


class _Watched:
    """Collects what enters and leaves a unit."""

    def __init__(
        self,
        model: nn.Module,
        unit: Unit,
        pictures: PictureStore,
        temperature: float | None = None,
        keep_inputs: bool = True,
    ) -> None:
        self._model, self._unit, self._temperature = model, unit, temperature
        self._keep_inputs, self._rows = keep_inputs, pictures.rows
        self._module = model.get_submodule(unit.name)
        self.inputs, self.outputs = pictures.new(), pictures.new()
        self._softmaxes = () if temperature is None else unit.softmaxes
        self.maps = [pictures.new() for _ in self._softmaxes]

    def until_input(self) -> AbstractContextManager:
        return hooked(before=[(self._module, self._enter_and_stop)], with_kwargs=True)

    def until_output(self) -> AbstractContextManager:
        return self._hooked(self._leave_and_stop)

    def throughout(self) -> AbstractContextManager:
        return self._hooked(self._leave)

    def _hooked(self, leave: Callable) -> AbstractContextManager:
        maps = [
            (self._model.get_submodule(name), partial(self._keep_map, store))
            for name, store in zip(self._softmaxes, self.maps, strict=True)
        ]
        hooks = [(self._module, leave), *maps]
        return hooked(*hooks, before=[(self._module, self._enter)], with_kwargs=True)

    def _enter(self, _: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if self._rows is not None and (len(tensors) != 1 or not args):
            raise VitqError(f"{self._unit.name} takes more than one tensor, so it cannot be reconstructed")
        if self._keep_inputs:
            self.inputs.append((args, kwargs))

    def _enter_and_stop(self, *call: Any) -> None:
        self._enter(*call)
        raise _Reached

    def _keep_map(self, store: TreeStore, _: nn.Module, __: tuple, output: Tensor) -> None:
        store.append(tempered(output, self._temperature))

    def _leave(self, _: nn.Module, __: tuple, output: Any) -> None:
        self.outputs.append(output)

    def _leave_and_stop(self, *call: Any) -> None:
        self._leave(*call)
        raise _Reached

    def close(self) -> None:
        for store in (self.inputs, self.outputs, *self.maps):
            store.close()


def _units_by_segment(
    model: nn.Module, units: list[Unit], blocks: list[str], batch: Batch
) -> list[tuple[Segment, list[Unit]]]:
    """Every segment with the units that its run reaches first, each once: what comes before it, and blocks
    that are stood in for, are passed again."""
    found, stream, known, reached = [], None, set(), []
    hooks = [(model.get_submodule(unit.name), lambda *_, unit=unit: reached.append(unit)) for unit in units]
    with torch.no_grad(), hooked(*hooks):
        for segment in segments(model, blocks, batch):
            reached.clear()
            stream = segment.run(model, batch, stream)
            found.append((segment, [unit for unit in dict.fromkeys(reached) if unit not in known]))
            known.update(reached)
    return found
