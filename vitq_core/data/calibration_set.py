"""The calibration pictures as checked chunks of one size, however the caller batched them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from ..common.batch import checked, unpacked
from .batches import iterated
from .store import ActivationStore, Scratch

CHUNK = 32  # pictures a forward pass of calibration takes


class CalibrationPictures:
    """``images``: [N, 3, H, W] floats, or an iterable of what loaders give (``common.batch``), read once.

    They come out on ``device``, the model's. Raises ValueError for an empty set, a wrong shape, integers and
    values that are not finite.
    """

    def __init__(
        self,
        images: Tensor | Iterable,
        size: tuple[int, int, int] | None,
        device: torch.device | str = "cpu",
    ) -> None:
        self._store: ActivationStore | None = None
        self._size, self._device = size, device
        if isinstance(images, Tensor):
            self._tensor, self.count = checked(images, size), len(images)
        else:
            self._tensor, self._store = None, self._spool(images)
            self.count = len(self._store)
        if self.count == 0:
            raise ValueError("no calibration pictures: give at least one")

    def _spool(self, batches: Iterable) -> ActivationStore:
        store = ActivationStore()
        try:
            for chunk in self._chunks(batches):
                store.append(chunk)
        except BaseException:
            store.close()
            raise
        return store

    def _chunks(self, batches: Iterable) -> Iterator[Tensor]:
        rest = None
        for batch in iterated(batches):
            images = checked(unpacked(batch)[0], self._size)
            if rest is not None and rest.shape[1:] != images.shape[1:]:
                sizes = f"{tuple(rest.shape[1:])} and {tuple(images.shape[1:])}"
                raise ValueError(f"all calibration pictures must have one size, got {sizes}")
            images = images if rest is None else torch.cat((rest, images))
            whole = len(images) - len(images) % CHUNK
            for start in range(0, whole, CHUNK):
                yield images[start : start + CHUNK]
            rest = images[whole:].clone()
        if rest is not None and len(rest):
            yield rest

    def parted(self, every: int, most: int) -> tuple[CalibrationPictures, Tensor]:
        """Of the first ``most`` pictures each ``every``-th one [n, C, H, W], and a set of the others."""
        held: list[Tensor] = []

        def others() -> Iterator[Tensor]:
            seen = 0
            for chunk in self:
                chunk = chunk[: most - seen]
                chosen = (torch.arange(seen, seen + len(chunk)) % every == every - 1).to(chunk.device)
                held.append(chunk[chosen])
                yield chunk[~chosen]
                seen += len(chunk)
                if seen >= most:
                    return

        rest = CalibrationPictures(others(), self._size, self._device)
        return rest, torch.cat(held)

    def kept(self, most: int, scratch: Scratch) -> ActivationStore:
        """The first ``most`` pictures, to be read by index."""
        count = min(self.count, most)
        kept = ActivationStore(scratch, count)
        for chunk in self:
            if len(kept) == count:
                break
            kept.append(chunk[: count - len(kept)].cpu())
        return kept

    def __iter__(self) -> Iterator[Tensor]:
        chunks = self._store if self._tensor is None else self._tensor.split(CHUNK)
        for chunk in chunks:
            yield chunk.to(self._device, torch.float32)

    def __len__(self) -> int:
        """Number of chunks."""
        return -(-self.count // CHUNK)

    @property
    def first(self) -> Tensor:
        """[1, C, H, W]."""
        return next(iter(self))[:1]

    def __enter__(self) -> CalibrationPictures:
        return self

    def __exit__(self, *error: object) -> None:
        if self._store is not None:
            self._store.close()
