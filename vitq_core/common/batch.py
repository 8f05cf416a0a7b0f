"""What a batch is: what a loader may give, and what a model is called with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

PICTURES = ("pixel_values", "images", "image")  # names in a dict, as transformers' and datasets' loaders give
LABELS = ("labels", "label")
PICTURE = "image"  # of a dict that is one picture with what is asked of it
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
    """What a model is called with: ``model(*args, **kwargs)``. ``args[0]`` holds one entry for each picture:
    a tensor [B, …], or a list of dicts, where pictures differ in size or bring tensors of their own.

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

    def __getitem__(self, rows: slice | Tensor) -> Batch:
        """Some of its pictures, by a slice or by their numbers [n]; of right answers nothing is known."""
        held = self.args[0]
        listed = isinstance(held, list) and isinstance(rows, Tensor)
        chosen = [held[row] for row in rows.tolist()] if listed else held[rows]
        return replace(self, args=(chosen, *self.args[1:]), truth=None)

    def split(self, size: int) -> Iterator[Batch]:
        """Batches of ``size`` pictures, the last perhaps of fewer."""
        return (self[start : start + size] for start in range(0, len(self), size))

    @staticmethod
    def joined(batches: Sequence[Batch]) -> Batch:
        """One of the pictures of all ``batches``, which are called alike."""
        first = batches[0]
        held = [batch.args[0] for batch in batches]
        if isinstance(first.args[0], Tensor):
            pictures = torch.cat(held) if len(held) > 1 else held[0]
        else:
            pictures = [*chain.from_iterable(held)]
        return replace(first, args=(pictures, *first.args[1:]), truth=None)

    def to(self, device: torch.device | str) -> Batch:
        """Its tensors on ``device``, floats in single precision."""

        def moved(x: Any) -> Any:
            return x.to(device, torch.float32 if x.is_floating_point() else x.dtype)

        return self.with_tensors(moved)

    def with_tensors(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """``change`` done to each of its tensors."""

        def changed(x: Any) -> Any:
            return change(x) if isinstance(x, Tensor) else x

        return replace(self, args=tree_map(changed, self.args), kwargs=tree_map(changed, self.kwargs))

    @property
    def pictures(self) -> list[Tensor]:
        """The tensors that hold pixels: of all pictures together, or of each."""
        held = self.args[0]
        return [held] if isinstance(held, Tensor) else [record[PICTURE] for record in held]

    def with_pictures(self, pictures: Sequence[Tensor]) -> Batch:
        """The same with other pixels, in the order of :attr:`pictures`."""
        held = self.args[0]
        if isinstance(held, Tensor):
            (changed,) = pictures
        else:
            pairs = zip(held, pictures, strict=True)
            changed = [{**record, PICTURE: picture} for record, picture in pairs]
        return replace(self, args=(changed, *self.args[1:]))

    @property
    def tensors(self) -> list[Tensor]:
        """All that are in it."""
        return [leaf for leaf in tree_leaves((self.args, self.kwargs)) if isinstance(leaf, Tensor)]

    @property
    def device(self) -> torch.device:
        """Of its tensors."""
        return self.tensors[0].device

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

        def moved(x: Tensor) -> Tensor:
            both = x.is_floating_point() and like.is_floating_point()
            return x.to(like.device, like.dtype if both else x.dtype)

        return self.with_tensors(moved)
