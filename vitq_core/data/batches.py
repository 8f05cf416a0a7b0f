"""Pictures as callers give them, checked: one tensor, or an iterable of batches of any sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

PIECE = 32  # pictures checked at a time


def checked(images: object, size: tuple[int, int, int] | None) -> Tensor:
    """``images`` without its history. Raises ValueError for what a model of input ``size`` cannot take."""
    if not isinstance(images, Tensor) or images.ndim != 4:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"pictures must be a float tensor [N, channels, height, width], got {shape}")
    if not images.is_floating_point():
        raise ValueError(f"pictures must be preprocessed floats, got {images.dtype}; use model.preprocess")
    if size is not None and tuple(images.shape[1:]) != size:
        raise ValueError(f"the model takes pictures of {size}, got {tuple(images.shape[1:])}")
    if not all(torch.isfinite(piece).all() for piece in images.split(PIECE)):
        raise ValueError("the pictures contain NaN or infinite values")
    return images.detach()


def iterated(batches: object) -> Iterator:
    """``iter(batches)``, or a ValueError."""
    try:
        return iter(batches)
    except TypeError as error:
        kind = type(batches).__name__
        raise ValueError(f"pictures must be a tensor or an iterable of batches, got {kind}") from error


def streamed(
    images: Tensor | Iterable, size: tuple[int, int, int] | None, batch_size: int, skip: int = 0
) -> Iterator[Tensor]:
    """Batches [≤ batch_size, C, H, W] in order, without the first ``skip`` pictures; labels are dropped.

    Raises ValueError for unusable pictures, as it meets them, and where there are fewer than ``skip``.
    """
    wanted = skip
    for batch in (images,) if isinstance(images, Tensor) else iterated(images):
        pictures = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
        passed = min(skip, len(pictures)) if isinstance(pictures, Tensor) else 0
        skip -= passed
        rest = checked(pictures, size)[passed:]
        if len(rest):
            yield from rest.split(batch_size)
    if skip:
        raise ValueError(f"there are only {wanted - skip} pictures, fewer than the {wanted} seen before")


def length_of(batches: object) -> int | None:
    """How many batches there are, where they know it."""
    try:
        return len(batches)
    except (TypeError, NotImplementedError):
        return None


class Watched:
    """Pictures as given, and how far reading them has come.

    ``images``: to read from; ``count``: how many pictures there are, None where that takes reading them.
    """

    def __init__(self, images: Tensor | Iterable) -> None:
        whole = isinstance(images, Tensor)
        self.count, self.images = (len(images), images) if whole else (None, self._watched(images))
        self._length, self._read = length_of(images), 0

    def _watched(self, batches: Iterable) -> Iterator:
        for batch in iterated(batches):
            self._read += 1
            yield batch

    def share(self, seen: int) -> float:
        """0..1, with ``seen`` pictures of the tensor done, or by the batches that were read; 0 if unknown."""
        done, total = (self._read, self._length) if self.count is None else (seen, self.count)
        return min(done / total, 1.0) if total else 0.0
