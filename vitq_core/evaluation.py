"""How good a model is on pictures, and how close to a reference, as its task measures it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn

from .common.batch import Batch
from .common.errors import VitqError
from .common.modes import evaluating
from .common.monitor import Monitor
from .common.words import counted
from .data.batches import iterated, length_of
from .graph.copies import module_of
from .models import Model
from .quantized.audit import audit
from .tasks import Evaluation, Outputs, Task, task_of

__all__ = ["Evaluation", "evaluate"]

Progress = Callable[[float | None, str], object]
TENSOR_BATCH = 64
NO_MORE = object()


def evaluate(
    module: nn.Module | Model,
    loader: Iterable,
    reference: nn.Module | Model | None = None,
    progress: Progress | None = None,
    cancel: Any = None,
    masks: Iterable | None = None,
) -> Evaluation:
    """Go through `loader` once, in constant memory, and measure what the model's task measures.

    `loader` gives (images [B, 3, H, W], labels [B]), images alone, or dicts of `pixel_values` and `labels`; a
    label of -1 means none. Features are compared with the reference's; without one they are only seen to be
    finite, and labels say nothing of them. At every batch `cancel` (a callable, or an object with `is_set()`)
    is asked and `progress` called with (share done or None, message). A quantized module is audited first.

    Of Segment Anything `loader` gives lists of dicts as `Sam.forward` takes them, and `masks` beside each
    such list one of the right bool masks [P, H, W] of its pictures, at their original size.

    Training mode is as before afterwards, also after an error. Raises ValueError for an empty loader or
    images or labels of a wrong type, shape or value, VitqError when a module gives no finite outputs of its
    task or fails its audit, Cancelled when told to stop.
    """
    network = module_of(module, "evaluate")
    other = None if reference is None else module_of(reference, "evaluate")
    task, total = task_of(network, module, reference), _length(loader)
    metrics, monitor = task.metrics(), Monitor(progress, cancel)  # it refuses what is no function
    if masks is not None and task.chunk > 1:
        raise ValueError(f"masks are for Segment Anything; this model's task is {task.name}")
    with evaluating(network), evaluating(other), torch.inference_mode():
        for done, batch in enumerate(_batches(loader, task, masks)):
            monitor.check()
            if done == 0:
                _audit(network, batch, "the model")
                _audit(other, batch, "the reference")
            expected = None if other is None else _outputs(task, other, batch, "the reference")
            metrics.add(_outputs(task, network, batch, "the model"), batch.truth, expected)
            if progress is not None:
                progress(
                    min((done + 1) / total, 1.0) if total else None,
                    f"{counted(metrics.n, task.counts)} evaluated",
                )
    return metrics.result()


def _length(loader: Iterable) -> int | None:
    """Batches in the loader, if it knows."""
    return -(-len(loader) // TENSOR_BATCH) if isinstance(loader, Tensor) else length_of(loader)


def _batches(loader: Iterable, task: Task, masks: Iterable | None) -> Iterator[Batch]:
    """What is in the loader, checked; a tensor of all images is cut into batches, and pictures that each have
    a shape of their own come one at a time."""
    items = loader.split(TENSOR_BATCH) if isinstance(loader, Tensor) else iterated(loader)
    if task.chunk == 1:
        yield from _single(items, task, masks)
        return
    for item in items:
        batch = task.collate(item)
        if len(batch):
            yield batch


def _single(items: Iterator, task: Task, masks: Iterable | None) -> Iterator[Batch]:
    """Each picture with its right masks, where there are any. ValueError where they are not as many."""
    given = repeat(None) if masks is None else iterated(masks)
    for item in items:
        right, batch = next(given, NO_MORE), task.collate(item)
        right = [right] if isinstance(item, Mapping) else right
        if right is NO_MORE or (right is not None and len(right) != len(batch)):
            raise ValueError(
                "masks must be a list beside each list of pictures, with the masks of each picture"
            )
        for number, picture in enumerate(batch.split(1)):
            yield replace(picture, truth=None if right is None else right[number])


def _outputs(task: Task, module: nn.Module, batch: Batch, who: str) -> Outputs:
    with _taking(batch, who):
        return task.measured(module, batch.on(module), who)


@contextmanager
def _taking(batch: Batch, who: str) -> Iterator[None]:
    """Raises VitqError, a sentence, where a network fails on images of a size it was not made for."""
    try:
        yield
    except (AssertionError, RuntimeError) as error:
        raise VitqError(f"{who} cannot take images of {batch.shape}: {error}") from error


def _audit(module: nn.Module | None, batch: Batch, who: str) -> None:
    """Is every quantizer of the recipe active and fitted? Published results were wrong for lack of it."""
    if hasattr(module, "vitq"):
        with _taking(batch, who):
            audit(module, batch.on(module))
