"""``importance``: layer scores over any number of pictures, in constant memory, resumable."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from torch import Tensor, nn

from ..common.arithmetic import plain_arithmetic
from ..common.batch import Batch
from ..common.errors import VitqError
from ..common.monitor import Monitor, Progress
from ..common.processes import ALONE, Group
from ..common.spans import Span, merged
from ..common.words import counted
from ..data.batches import Watched, iterated
from ..data.kept import Kept, Kind, State, Sums
from ..data.shares import Share, cuttable, part_of
from ..graph.prepared import PreparedModel, peeked, prepare
from ..lrp.targets import Targets, check_batch_size, check_takes
from ..models import Model
from .memory import at_once
from .scores import Importance, Tally, checked_state
from .sources import SOURCES

SAVE_EVERY = 5.0  # seconds


def _merged(first: State, second: State) -> State:
    tally = Tally(first)
    tally.merge(Tally(second))
    return tally.state


KIND = Kind("an importance run", "model, source, targets or first picture", checked_state, _merged)


@plain_arithmetic
def importance(
    model: Model | nn.Module,
    images: Tensor | Iterable,
    source: str = "relevance",
    targets: int | Iterable | Tensor | None = None,
    batch_size: int = 32,
    progress: Progress | None = None,
    cancel: object = None,
    state: str | Path | None = None,
    processes: Group = ALONE,
) -> Importance:
    """Score every layer with ``source`` (``SOURCES``) on all ``images`` [N, C, H, W] or batches of them.

    ``state``: a file that keeps what was gathered, also when cancelled or killed; with the same model, source
    and pictures in the same order the next call goes on from there, with any number of ``processes``: the
    workers of ``joined()``, of which each scores its share and all get the whole (``state`` then lies in a
    folder that all of them see). Raises ValueError and VitqError as :func:`vitq_core.lrp` does, VitqError for
    a state of another run and WorkerLost where another worker died or failed.
    """
    with processes.answering():
        check_batch_size(batch_size)
        run = _Run(model, images, source, targets, batch_size, state, processes)
        monitor = Monitor(progress, cancel)
        monitor.report(run.fraction(), f"{counted(run.seen, 'picture')} seen" if run.seen else "Preparing")
        try:
            for span, batch in run.batches():
                run.add(span, batch)
                run.kept.save(run.sums, SAVE_EVERY)
                processes.check()
                monitor.report(run.fraction(), f"{counted(run.seen, 'picture')} seen")
        finally:
            run.kept.save(run.sums)
        found = run.result()
        monitor.done("Done")
        return found


class _Run:
    """One worker's share. ``sums``: what it has to keep."""

    def __init__(
        self,
        model: Model | nn.Module,
        images: Tensor | Iterable,
        source: str,
        targets: object,
        batch_size: int,
        state: str | Path | None,
        processes: Group,
    ) -> None:
        kind = SOURCES[source]
        self._watched, self._images = Watched(images), images
        self._cut = cuttable(images, processes.size)
        first, self._stream = peeked(self._watched.images, model, "importance")
        self._prepared = prepare(model, "importance", first)
        check_takes(self._prepared.task, targets)
        self._targets = Targets(targets, self._watched.count)
        if self._cut is not None and not self._cut.exact and self._targets.one_each:
            self._cut = None  # they are for the pictures that can be read
        self._scorer, self._source, self._processes = kind(self._prepared), source, processes
        self._most = at_once(self._prepared, batch_size)
        self.kept = Kept(
            state, KIND, processes, lambda: _fingerprint(self._prepared, source, first, self._targets)
        )
        self._tally = Tally(self.kept.begin.state)
        self._done = list(self.kept.begin.done)
        self._share = Share(processes.rank, processes.size, self.kept.done)
        self._check(state)

    def _check(self, state: str | Path | None) -> None:
        """Raises VitqError for a state of fewer layers or more pictures than there are."""
        if self._done and not set(self._prepared.names) <= self._tally.state.keys():
            raise VitqError(f"{state} holds no state of an importance run; delete it: it lacks layers")
        total, seen = (
            None if self._cut is None else self._cut.count,
            max((stop for _, stop in self.kept.done), default=0),
        )
        if total is not None and seen > total:
            raise VitqError(
                f"{state} has seen {counted(seen, 'picture')} already, more than the {total} given"
            )

    @property
    def sums(self) -> Sums:
        return Sums(self._tally.state or None, tuple(self._done))

    @property
    def seen(self) -> int:
        """Pictures, of all workers as far as is known."""
        return self._processes.note(self._tally.pictures)

    def fraction(self) -> float:
        """Done of the whole; 0 where that is not known."""
        if self._cut is not None:
            return min(self.seen / self._cut.count, 1.0)
        return self._watched.share(self.seen) if self.seen else 0.0

    def batches(self) -> Iterator[tuple[Span, Batch]]:
        """What this worker has to score."""
        collate, share = self._prepared.collate, self._share
        if self._cut is None:
            whole = ((span, batch) for span, batch in share.streamed(map(collate, iterated(self._stream))))
        else:
            most = min(self._most, self._cut.batch_size or self._most)
            items = share.cut(self._cut, most, self._scorer.by_batch)
            whole = ((span, collate(item)) for span, item in items)
        for (start, stop), batch in whole:
            for first in range(0, len(batch), self._most):
                last = min(first + self._most, len(batch))
                end = stop if last == len(batch) else start + last
                yield (start + first, end), part_of(batch, first, last)

    def add(self, span: Span, batch: Batch) -> None:
        """Score a batch."""
        targets = self._targets.at(span[0], len(batch), self._prepared.device)
        self._tally.add(self._scorer.scores(batch, targets))
        self._done = merged([*self._done, span])

    def result(self) -> Importance:
        """Of all workers. Raises ValueError where there are more targets than pictures."""
        self._targets.passed(self._share.passed if self._cut is None else self._cut.count)
        self._targets.check_used()
        whole = self.kept.together(self.sums)
        return Tally(whole.state).result(self._source, self._prepared.names)


def _fingerprint(prepared: PreparedModel, source: str, first: Batch, targets: Targets) -> str:
    """Of everything that makes a score what it is, but for the pictures after the first."""
    digest = hashlib.sha256(source.encode())
    classes = [] if targets.classes is None else [targets.classes]
    for tensor in (*prepared.module.state_dict().values(), *first.to("cpu").tensors, *classes):
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
