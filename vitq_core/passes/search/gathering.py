"""What layers are called with in full precision, and the gradients at their outputs: a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ...common.batch import Batch
from ...common.hooks import hooked
from ...data.calibration_set import CalibrationPictures
from ...data.store import ActivationStore, Scratch
from ...graph.prepared import PreparedModel
from ...scoring.memory import at_once
from ...tasks import Outputs, Task
from .product import Calls

BATCH = 8  # pictures whose gradients are taken together
Loss = Callable[[Task, Batch, Outputs], Tensor]  # its gradient is what errors are weighed with


class Gathered:
    """The calls of ``names`` for all pictures: in memory up to a limit, in files beyond it."""

    def __init__(self, scratch: Scratch, names: Sequence[str]) -> None:
        self._scratch = scratch
        self._inputs: dict[str, list[ActivationStore]] = {name: [] for name in names}
        self._gradients = {name: ActivationStore(scratch) for name in names}

    def add(self, name: str, inputs: tuple[Tensor, ...], gradient: Tensor) -> None:
        """A call of the layer."""
        stores = self._inputs[name]
        stores += [ActivationStore(self._scratch) for _ in inputs[len(stores) :]]
        for store, x in zip(stores, inputs, strict=True):
            store.append(x)
        self._gradients[name].append(gradient)

    def calls(self, name: str) -> Calls:
        """All of a layer."""
        return Calls([*zip(*self._inputs[name], strict=True)], [*self._gradients[name]])

    def close(self) -> None:
        """Forget them."""
        for store in (*(s for stores in self._inputs.values() for s in stores), *self._gradients.values()):
            store.close()


def groups_of_layers(prepared: PreparedModel) -> list[list[str]]:
    """The layers of each block, and those between blocks, in their order: what is gathered together."""
    found: list[tuple[str, list[str]]] = []
    for name in prepared.layers:
        block = next((block for block in prepared.blocks if name.startswith(f"{block}.")), "")
        if not found or found[-1][0] != block:
            found.append((block, []))
        found[-1][1].append(name)
    return [names for _, names in found]


def gathered(
    prepared: PreparedModel,
    names: Sequence[str],
    pictures: CalibrationPictures,
    most: int,
    loss: Loss | None,
    scratch: Scratch,
    check: Callable[[], None],
) -> Gathered:
    """Of the first ``most`` pictures; without a ``loss`` gradients are empty. ``check`` is called between
    batches, and may raise."""
    found, left = Gathered(scratch, names), most
    for chunk in pictures:
        for batch in chunk[:left].split(at_once(prepared, BATCH)):
            check()
            _add(found, prepared, names, batch, loss)
        left -= min(left, len(chunk))
        if not left:
            break
    return found


def _add(found: Gathered, prepared: PreparedModel, names: Sequence[str], batch: Batch, loss: Loss) -> None:
    module, task = prepared.module, prepared.task
    operands = {name: len(prepared.layers[name].inputs) for name in names}
    if loss is None:
        with torch.no_grad(), _watched(module, operands) as calls:
            batch.through(module)
        for name, inputs, output in calls:
            found.add(name, inputs, output.new_empty(0))
        return
    with torch.enable_grad(), _watched(module, operands) as calls:
        value = loss(task, batch, task.run(module, batch))
        outputs = [output for _, _, output in calls]
        gradients = torch.autograd.grad(value, outputs, allow_unused=True)
    for (name, inputs, output), gradient in zip(calls, gradients, strict=True):
        given = torch.zeros_like(output) if gradient is None else gradient
        found.add(name, inputs, given)


@contextmanager
def _watched(module: nn.Module, operands: dict[str, int]) -> Iterator[list[tuple[str, tuple, Tensor]]]:
    """(layer, inputs, output) of every call, in their order, of so many ``operands`` each: what else Segment
    Anything's scores are made of has no quantizer. Outputs take gradients."""
    calls: list[tuple[str, tuple, Tensor]] = []

    def keep(name: str) -> Callable:
        def hook(part: nn.Module, inputs: tuple, output: Tensor) -> None:
            if torch.is_grad_enabled() and not output.requires_grad:
                output.requires_grad_()
            given = inputs[: operands[name]]
            kept = tuple(x.detach() if torch.is_grad_enabled() else x.clone() for x in given)
            calls.append((name, kept, output))

        return hook

    with hooked(*((module.get_submodule(name), keep(name)) for name in operands)):
        yield calls
