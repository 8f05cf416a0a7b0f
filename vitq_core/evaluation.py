"""How good a model is on pictures, and how close to a reference, as its task measures it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .common.batch import Batch
from .common.digests import digest_of, digest_of_pictures
from .common.errors import VitqError
from .common.modes import evaluating
from .common.monitor import Monitor
from .common.processes import ALONE, Group
from .common.spans import Span, merged
from .common.words import counted
from .data.batches import Watched, iterated
from .data.kept import Kept, Kind, State, Sums
from .data.shares import Share, cuttable
from .graph.copies import module_of
from .models import Model
from .quantized.audit import audit
from .tasks import Evaluation, Metrics, Outputs, Task, task_of

__all__ = ["Evaluation", "evaluate"]

Progress = Callable[[float | None, str], object]
TENSOR_BATCH = 64
SAVE_EVERY = 5.0  # seconds
NO_MORE = object()
UNLIKE = "masks must be a list beside each list of pictures, with the masks of each picture"


def evaluate(
    module: nn.Module | Model,
    loader: Iterable,
    reference: nn.Module | Model | None = None,
    progress: Progress | None = None,
    cancel: Any = None,
    masks: Iterable | None = None,
    processes: Group = ALONE,
    state: str | Path | None = None,
) -> Evaluation:
    """Go through `loader` once, in constant memory, and measure what the model's task measures.

    `loader` gives (images [B, 3, H, W], labels [B]), images alone, or dicts of `pixel_values` and `labels`; a
    label of -1 means none. Features are compared with the reference's; without one they are only seen to be
    finite, and labels say nothing of them. At every batch `cancel` (a callable, or an object with `is_set()`)
    is asked and `progress` called with (share done or None, message). A quantized module is audited first.

    Of Segment Anything `loader` gives lists of dicts as `Sam.forward` takes them, and `masks` beside each
    such list one of the right bool masks [P, H, W] of its pictures, at their original size.

    `processes`: the workers of `joined()`, of which each evaluates its share of the pictures and all get the
    same result. `state`: a file (in a folder that all of them see) that keeps what was counted, also when
    cancelled or killed; with the same models and pictures the next call goes on from there, with any number
    of workers.

    Training mode is as before afterwards, also after an error. Raises ValueError for an empty loader or
    images or labels of a wrong type, shape or value, VitqError when a module gives no finite outputs of its
    task or fails its audit or for a state of another run, Cancelled when told to stop, WorkerLost where
    another worker died or failed.
    """
    with processes.answering():
        network = module_of(module, "evaluate")
        other = None if reference is None else module_of(reference, "evaluate")
        task, monitor = task_of(network, module, reference), Monitor(progress, cancel)
        if masks is not None and task.chunk > 1:
            raise ValueError(f"masks are for Segment Anything; this model's task is {task.name}")
        shared = _Shared(loader, task, masks, processes, state, [network, other])
        metrics = shared.metrics
        with evaluating(network), evaluating(other), torch.inference_mode():
            try:
                for count, (span, batch) in enumerate(shared.batches()):
                    monitor.check()
                    processes.check()
                    if count == 0:
                        _audit(network, batch, "the model")
                        _audit(other, batch, "the reference")
                    expected = None if other is None else _outputs(task, other, batch, "the reference")
                    metrics.add(_outputs(task, network, batch, "the model"), batch.truth, expected)
                    shared.add(span)
                    if progress is not None:
                        progress(shared.fraction(), f"{counted(shared.seen, task.counts)} evaluated")
            finally:
                shared.save()
        return shared.result()


class _Shared:
    """One worker's share of the pictures, and what is counted of it: ``metrics``."""

    def __init__(
        self,
        loader: Iterable,
        task: Task,
        masks: Iterable | None,
        processes: Group,
        state: str | Path | None,
        modules: list[nn.Module | None],
    ) -> None:
        self._task, self._masks, self._processes = task, masks, processes
        self._cut = cuttable(loader, processes.size) if task.chunk > 1 else None
        self._watched = Watched(loader)
        self._items = iterated(self._watched.images) if self._cut is None else iter(())
        self._kept = Kept(state, self._kind(), processes, lambda: self._fingerprint(modules))
        self.metrics = self._restored(self._kept.begin.state)
        self._done = list(self._kept.begin.done)
        self._share = Share(processes.rank, processes.size, self._kept.done)

    def batches(self) -> Iterator[tuple[Span, Batch]]:
        """What this worker has to do, with where its pictures stand; a tensor of all images is cut into
        batches, and pictures that each have a shape of their own come one at a time."""
        if self._cut is None:
            single = self._task.chunk == 1
            items = (
                _single(self._items, self._task, self._masks)
                if single
                else map(self._task.collate, self._items)
            )
            yield from self._share.streamed(batch for batch in items if len(batch))
            return
        for span, item in self._share.cut(self._cut, self._cut.batch_size or TENSOR_BATCH):
            batch = self._task.collate(item)
            if len(batch):
                yield span, batch

    def add(self, span: Span) -> None:
        """It is in the metrics now."""
        self._done = merged([*self._done, span])
        self.save(SAVE_EVERY)

    def save(self, every: float = 0.0) -> None:
        self._kept.save(self._sums, every)

    @property
    def _sums(self) -> Sums:
        return Sums(self.metrics.state() if self.metrics.n else None, tuple(self._done))

    @property
    def seen(self) -> int:
        """What all workers have counted, as far as is known."""
        return self._processes.note(self.metrics.n)

    def fraction(self) -> float | None:
        if self._cut is not None:
            return min(self.seen / self._cut.count, 1.0)
        return self._watched.share(0) or None

    def result(self) -> Evaluation:
        """Of all workers. Raises ValueError where there were no pictures."""
        return self._restored(self._kept.together(self._sums).state).result()

    def _restored(self, state: State | None) -> Metrics:
        metrics = self._task.metrics()
        if state is not None:
            metrics.restore(state)
        return metrics

    def _kind(self) -> Kind:
        def merge(first: State, second: State) -> State:
            metrics = self._restored(first)
            metrics.merge(self._restored(second))
            return metrics.state()

        return Kind(
            "an evaluation", "model, reference or pictures", lambda s: self._restored(s).state(), merge
        )

    def _fingerprint(self, modules: list[nn.Module | None]) -> str:
        """Of the modules and of the first picture."""
        if self._cut is None:
            first = next(self._items, None)
            self._items = iter(()) if first is None else chain([first], self._items)
        else:
            parts = self._cut.between(0, self._cut.count, self._cut.batch_size or TENSOR_BATCH)
            _, first = next(parts, (None, None))
        pictures = [] if first is None else [self._task.collate(first)[:1].to("cpu")]
        parts = [self._task.name, digest_of_pictures(pictures), *map(_digest_of_module, modules)]
        return sha256(" ".join(parts).encode()).hexdigest()


def _digest_of_module(module: nn.Module | None) -> str:
    """Of its tensors and of what its quantizers are."""
    if module is None:
        return "none"
    parts = [
        f"{name} {type(part).__name__} {getattr(part, 'bits', '')}" for name, part in module.named_modules()
    ]
    return sha256("\n".join([digest_of(module.state_dict()), *parts]).encode()).hexdigest()


def _single(items: Iterator, task: Task, masks: Iterable | None) -> Iterator[Batch]:
    """Each picture with its right masks, where there are any. ValueError where they are not as many."""
    given = repeat(None) if masks is None else iterated(masks)
    for item in items:
        right, batch = next(given, NO_MORE), task.collate(item)
        if right is not NO_MORE and isinstance(item, Mapping):
            right = [right]
        if right is NO_MORE or (right is not None and len(right) != len(batch)):
            raise ValueError(UNLIKE)
        for number, picture in enumerate(batch.split(1)):
            yield replace(picture, truth=None if right is None else right[number])
    if masks is not None and next(given, NO_MORE) is not NO_MORE:
        raise ValueError(UNLIKE)


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
