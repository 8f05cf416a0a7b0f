"""Which of the pictures each of several workers goes through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from torch import Tensor
from torch.utils.data import DataLoader, SequentialSampler, Subset

from ..common.batch import Batch
from ..common.spans import Span, dealt, without

EVEN = 8  # batches for each worker from which on only whole ones are dealt out: at most an eighth waits


@dataclass(frozen=True)
class Cuttable:
    """Pictures of which some can be had without reading the others.

    ``between(start, stop, most)``: batches of ``most`` pictures at most, each with where its pictures stand.
    ``exact``: every place has a picture; otherwise some may turn out to be unreadable.
    """

    count: int
    between: Callable[[int, int, int], Iterator[tuple[Span, object]]]
    exact: bool = True
    batch_size: int | None = None


def cuttable(images: object, workers: int = 1) -> Cuttable | None:
    """A tensor, a loader with ``count`` and ``part(start, stop)``, as those of folders have, or for several
    ``workers`` a DataLoader that reads a data set in its order, which then becomes one for each of them.

    None for everything else, which has to be read from its beginning.
    """
    if isinstance(images, Tensor):
        return Cuttable(len(images), lambda *span: _of_tensor(images, *span))
    if hasattr(images, "part") and hasattr(images, "count"):
        return Cuttable(images.count, lambda *span: _of_loader(images, *span), False, images.batch_size)
    if workers > 1 and isinstance(images, DataLoader) and _in_order(images):
        return Cuttable(
            len(images.dataset), lambda *span: _of_data_loader(images, *span), True, images.batch_size
        )
    return None


def _in_order(loader: DataLoader) -> bool:
    """Whether it gives every item of its data set, in batches of one size."""
    whole = loader.batch_size is not None and not loader.drop_last
    return whole and isinstance(loader.sampler, SequentialSampler)


def _of_tensor(images: Tensor, start: int, stop: int, most: int) -> Iterator[tuple[Span, object]]:
    for first in range(start, stop, most):
        last = min(first + most, stop)
        yield (first, last), images[first:last]


def _of_loader(loader: object, start: int, stop: int, most: int) -> Iterator[tuple[Span, object]]:
    for first in range(start, stop, most):
        last = min(first + most, stop)
        for item in loader.part(first, last):
            yield (first, last), item


def _of_data_loader(loader: DataLoader, start: int, stop: int, most: int) -> Iterator[tuple[Span, object]]:
    part = DataLoader(
        Subset(loader.dataset, range(start, stop)),
        batch_size=most,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
    )
    for first, item in zip(range(start, stop, most), part, strict=True):
        yield (first, min(first + most, stop)), item


@dataclass
class Share:
    """That of worker ``rank`` among ``of``, without what is ``done`` already: stretches of pictures.

    ``passed``: how many pictures of a stream were gone through, anybody's.
    """

    rank: int = 0
    of: int = 1
    done: tuple[Span, ...] = ()
    passed: int = 0

    def cut(
        self, pictures: Cuttable, most: int, whole_batches: bool = False
    ) -> Iterator[tuple[Span, object]]:
        """Batches of ``most`` pictures at most. ``whole_batches``: as one worker alone would have them."""
        rest = without([(0, pictures.count)], self.done)
        many = sum(stop - start for start, stop in rest) >= EVEN * self.of * most
        for start, stop in dealt(rest, self.rank, self.of, most if many or whole_batches else 1):
            yield from pictures.between(start, stop, most)

    def streamed(self, batches: Iterable[Batch]) -> Iterator[tuple[Span, Batch]]:
        """Every ``of``-th batch. Raises ValueError where there are fewer pictures than are done."""
        for number, batch in enumerate(batches):
            start, self.passed = self.passed, self.passed + len(batch)
            if number % self.of == self.rank:
                for first, last in without([(start, self.passed)], self.done):
                    yield (first, last), part_of(batch, first - start, last - start)
        most = max((stop for _, stop in self.done), default=0)
        if self.passed < most:
            raise ValueError(f"there are only {self.passed} pictures, fewer than the {most} seen before")


def part_of(batch: Batch, start: int, stop: int) -> Batch:
    """Some of its pictures, with what is known of their right answers."""
    if (start, stop) == (0, len(batch)):
        return batch
    truth = batch.truth if batch.truth is None else batch.truth[start:stop]
    return replace(batch[start:stop], truth=truth)
