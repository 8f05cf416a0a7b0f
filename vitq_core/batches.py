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


def count_of(images: Tensor | Iterable) -> int | None:
    """How many pictures there are, where that can be known without reading them."""
    return len(images) if isinstance(images, Tensor) else None
