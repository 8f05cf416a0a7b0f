"""A model prepared for work on it: one rewritten copy, and the layers that its forward runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import torch
from torch import Tensor, nn

from ..common.batch import Batch, checked, unpacked
from ..data.batches import iterated
from ..tasks import Task, task_of
from .base import AttentionMaps, Family, family_of
from .copies import check_finite, network_of, private_copy, standalone, usable
from .faithful import check_faithful, check_given
from .site import Layer
from .tracing import trace_layers


@dataclass
class PreparedModel:
    """``module``: rewritten, in evaluation mode, nothing requires grad; the model it came from is untouched.

    ``layers``: those that its forward runs, in order; ``input_size``: (channels, height, width) of a picture.
    """

    module: nn.Module
    family: Family
    layers: dict[str, Layer]
    input_size: tuple[int, int, int]
    task: Task

    @property
    def names(self) -> list[str]:
        return list(self.layers)

    @property
    def blocks(self) -> list[str]:
        """The dotted names of the blocks, in order."""
        return self.family.blocks(self.module)

    @cached_property
    def maps(self) -> AttentionMaps:
        """Where the attention maps are: asked for by explanations alone."""
        return self.family.attention_maps(self.module, self.input_size[1:])

    @property
    def observed(self) -> list[str]:
        """The names of the layers and of the attention maps (``….attn.softmax``)."""
        return [*self.layers, *chain.from_iterable(self.maps.blocks)]

    @property
    def shared(self) -> list[tuple[str, ...]]:
        """Layers that read the output of one norm, a single tensor: they need the same activation bits."""
        pairs = (
            tuple(name for name in pair.linears if name in self.layers)
            for pair in self.family.pairs(self.module)
        )
        return [names for names in pairs if len(names) > 1]

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    def batch(self, pictures: Tensor) -> Tensor:
        """``pictures`` as the module takes them, and as autograd does."""
        return usable(pictures).to(self.device, torch.float32)


def prepare(
    model: object, caller: str, pictures: Tensor | None = None, own_weights: bool = False
) -> PreparedModel:
    """``pictures``: a few [N, C, H, W] of those that the model will see, on which the copy is compared with
    it; None where the model itself says their size.

    ``own_weights``: the copy's weights are its own, to be changed; otherwise they are shared with ``model``.
    Raises VitqError for a model of no known family or one that its copy does not equal, ValueError for what
    is no model or takes no such pictures.
    """
    module = network_of(model, caller)
    family = family_of(module)
    check_finite(module)
    check_given(module)
    size = family.input_size(module)
    copy = standalone(module).requires_grad_(False) if own_weights else private_copy(module)
    family.rewrite(copy)
    pictures = usable(_blank(size) if pictures is None else checked(pictures, size))
    pictures = pictures.to(next(copy.parameters()))
    batch = Batch((pictures,))
    layers = trace_layers(copy, family, batch.first(1))
    check_faithful(module, copy, family, layers, batch)
    return PreparedModel(copy, family, layers, tuple(pictures.shape[1:]), task_of(module, model))


def peeked(images: Tensor | Iterable) -> tuple[Tensor, Tensor | Iterable]:
    """The first picture [1, C, H, W] and the whole stream again. Raises ValueError where there is none."""
    if isinstance(images, Tensor):
        return checked(images, None)[:1] if len(images) else _nothing(), images
    batches = iterated(images)
    for batch in batches:
        pictures = checked(unpacked(batch)[0], None)
        if len(pictures):
            return pictures[:1], chain([batch], batches)
    return _nothing(), images


def _blank(size: tuple[int, int, int] | None) -> Tensor:
    if size is None:
        raise ValueError("this model takes pictures of any size: give images, so that its layers have one")
    return torch.zeros(1, *size)


def _nothing() -> Tensor:
    raise ValueError("no pictures: give at least one")
