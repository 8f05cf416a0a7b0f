"""The calibration pictures as checked chunks, however the caller batched them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from ..common.batch import Batch
from ..common.digests import digest_of_pictures
from .batches import Collate, iterated
from .store import Scratch, TreeStore

CHUNK = 32  # pictures a forward pass of calibration takes


class CalibrationPictures:
    """``images``: [N, 3, H, W] floats, or an iterable of what ``collate`` takes, read once.

    They come out on ``device``, the model's, as batches of ``chunk`` pictures: 1 for pictures that differ in
    size or bring tensors of their own. Raises ValueError for an empty set and for what ``collate`` refuses.
    """

    def __init__(
        self,
        images: Tensor | Iterable,
        collate: Collate,
        device: torch.device | str = "cpu",
        chunk: int = CHUNK,
    ) -> None:
        self._store: TreeStore | None = None
        self._collate, self._device, self.chunk = collate, device, chunk
        if isinstance(images, Tensor):
            self._whole = collate(images)
            self.count = len(self._whole)
        else:
            self._whole, (self._store, self.count) = None, self._spool(images)
        if self.count == 0:
            raise ValueError("no calibration pictures: give at least one")

    def _spool(self, batches: Iterable) -> tuple[TreeStore, int]:
        store, count = TreeStore(), 0
        try:
            for chunk in self._chunks(batches):
                store.append((chunk.args, chunk.kwargs))
                count += len(chunk)
        except BaseException:
            store.close()
            raise
        return store, count

    def _chunks(self, batches: Iterable) -> Iterator[Batch]:
        rest: Batch | None = None
        for given in iterated(batches):
            batch = given if isinstance(given, Batch) else self._collate(given)
            batch = batch if rest is None else _together(rest, batch)
            *whole, last = batch.split(self.chunk) if len(batch) else (batch,)
            yield from whole
            if len(last) == self.chunk:
                yield last
                last = last[:0]
            rest = last.with_tensors(torch.clone)
        if rest is not None and len(rest):
            yield rest

    def parted(self, every: int, most: int) -> tuple[CalibrationPictures, Batch]:
        """Of the first ``most`` pictures each ``every``-th one, and a set of the others."""
        held: list[Batch] = []

        def others() -> Iterator[Batch]:
            seen = 0
            for chunk in self:
                chunk = chunk[: most - seen]
                chosen = torch.arange(seen, seen + len(chunk)) % every == every - 1
                held.append(chunk[chosen.nonzero()[:, 0]])
                yield chunk[(~chosen).nonzero()[:, 0]]
                seen += len(chunk)
                if seen >= most:
                    return

        rest = CalibrationPictures(others(), self._collate, self._device, self.chunk)
        return rest, Batch.joined(held)

    def first(self, count: int) -> Batch:
        """The first ``count`` pictures, or all of fewer."""
        found: list[Batch] = []
        for chunk in self:
            found.append(chunk)
            if sum(map(len, found)) >= count:
                break
        return Batch.joined(found)[:count]

    def kept(self, most: int, scratch: Scratch) -> PictureStore:
        """The first ``most`` pictures, to be read by index."""
        return PictureStore(self, min(self.count, most), scratch)

    def digest(self) -> str:
        """SHA-256 of all of them as the model is given them, in their order; however they were batched."""
        return digest_of_pictures(chunk.to("cpu") for chunk in self._held())

    def __iter__(self) -> Iterator[Batch]:
        for chunk in self._held():
            yield chunk.to(self._device)

    def _held(self) -> Iterator[Batch]:
        """Where they lie."""
        return self._whole.split(self.chunk) if self._store is None else self._stored()

    def _stored(self) -> Iterator[Batch]:
        return (Batch(args, kwargs) for args, kwargs in self._store)

    def __len__(self) -> int:
        """Number of chunks."""
        return -(-self.count // self.chunk)

    def __enter__(self) -> CalibrationPictures:
        return self

    def __exit__(self, *error: object) -> None:
        if self._store is not None:
            self._store.close()


class PictureStore:
    """``count`` pictures kept for learning: read chunk by chunk, or by their numbers.

    ``rows``: how many rows a store of what a model gives for all of them has; None where each of them gives
    tensors of its own shape, which are then read one picture at a time.
    """

    def __init__(self, pictures: CalibrationPictures, count: int, scratch: Scratch) -> None:
        self.count, self.scratch, self._device = count, scratch, pictures._device
        self.rows = None if pictures.chunk == 1 else count
        self._store, seen = self.new(), 0
        for chunk in pictures:
            chunk = chunk[: count - seen].to("cpu")
            self._store.append((chunk.args, chunk.kwargs))
            seen += len(chunk)
            if seen == count:
                break

    def new(self) -> TreeStore:
        """An empty store for what a model gives for these pictures, in the same room."""
        return TreeStore(self.scratch, self.rows)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        for args, kwargs in self._store:
            yield Batch(args, kwargs).to(self._device)

    def __getitem__(self, index: Tensor) -> Batch:
        """Those of these numbers [n], copied."""
        groups = index.split(1) if self.rows is None else [index]
        return Batch.joined([Batch(*self._store[group]).to(self._device) for group in groups])

    def close(self) -> None:
        """Forget them and give their room back."""
        self._store.close()


def _together(rest: Batch, batch: Batch) -> Batch:
    if isinstance(batch.args[0], Tensor) and rest.shape != batch.shape:
        sizes = f"{rest.shape} and {batch.shape}"
        raise ValueError(f"all calibration pictures must have one size, got {sizes}")
    return Batch.joined([each for each in (rest, batch) if len(each)] or [batch])
