"""What a batch is: what a loader may give, and what a model is called with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

PICTURES = ("pixel_values", "images", "image")  # names in a dict, as transformers' and datasets' loaders give
LABELS = ("labels", "label")
PIECE = 32  # pictures checked at a time


def unpacked(item: object) -> tuple[object, object]:
    """(pictures, labels or None) of what a loader gives: pictures alone, a pair, or a dict that names both.

    Raises ValueError for a dict without pictures.
    """
    if isinstance(item, Mapping):
        return _named(item)
    if isinstance(item, (tuple, list)) and item:
        return item[0], item[1] if len(item) > 1 else None
    return item, None


def _named(item: Mapping) -> tuple[object, object]:
    name = next((name for name in PICTURES if name in item), None)
    if name is None:
        held = ", ".join(map(repr, item)) or "nothing"
        raise ValueError(
            f"a dict must hold its pictures as {' or '.join(map(repr, PICTURES))}; it has {held}"
        )
    return item[name], next((item[label] for label in LABELS if label in item), None)


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


@dataclass(frozen=True, eq=False)
class Batch:
    """What a model is called with: ``model(*args, **kwargs)``. ``args[0]`` holds one entry for each picture.

    ``truth``: what is known of the right answers, as the task understands it (labels [B]), or None.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    truth: Any = None

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.args[0])

    def through(self, module: nn.Module) -> Any:
        """What ``module`` gives for it."""
        return module(*self.args, **self.kwargs)

    def first(self, count: int) -> Batch:
        """Its first ``count`` pictures, of whose right answers nothing is known."""
        return replace(self, args=(self.args[0][:count], *self.args[1:]), truth=None)

    @property
    def device(self) -> torch.device:
        """Of its tensors."""
        return next(leaf.device for leaf in tree_leaves(self.args) if isinstance(leaf, Tensor))

    @property
    def shape(self) -> tuple[int, ...]:
        """For a sentence: of a picture, of the first where they differ."""
        return tuple(
            next(leaf for leaf in tree_leaves(self.args[0][:1]) if isinstance(leaf, Tensor)).shape[-3:]
        )

    def on(self, module: nn.Module) -> Batch:
        """Its tensors on the device of the module's first tensor, floats in that one's precision."""
        like = next(chain(module.parameters(), module.buffers()), None)
        if like is None:
            return self

        def moved(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            both = x.is_floating_point() and like.is_floating_point()
            return x.to(like.device, like.dtype if both else x.dtype)

        return replace(self, args=tree_map(moved, self.args), kwargs=tree_map(moved, self.kwargs))
