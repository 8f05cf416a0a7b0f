"""A model prepared for work on it: one rewritten copy, and the layers that its forward runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import torch
from torch import Tensor, nn

from ..common.batch import Batch
from ..data.batches import iterated
from ..tasks import Task, task_of
from .base import AttentionMaps, Family, family_of
from .copies import check_finite, network_of, private_copy, standalone, usable
from .faithful import check_faithful, check_given
from .site import Between, Layer
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
    def maps(self) -> AttentionMaps | None:
        """Where the attention maps are that a heat map is made of; None for a family that has none."""
        return self.family.attention_maps(self.module, self.input_size[1:])

    @cached_property
    def between(self) -> Between | None:
        """The tensors between layers; None for a family that does not list them."""
        return self.family.between(self.module)

    @property
    def observed(self) -> list[str]:
        """The names of the layers and of the attention maps (``….attn.softmax``)."""
        return [*self.layers, *chain.from_iterable(self.maps.blocks if self.maps else ())]

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

    def collate(self, item: object) -> Batch:
        """What a loader gives, as the module takes it, and as autograd does."""
        batch = self.task.working(item, self.family.input_size(self.module))
        return batch.with_tensors(usable).to(self.device)


def prepare(
    model: object,
    caller: str,
    pictures: Tensor | Batch | None = None,
    own_weights: bool = False,
    heads: bool = False,
) -> PreparedModel:
    """``pictures``: a few of those that the model will see, [N, C, H, W] or as its task collates them, on
    which the copy is compared with it; None where the model itself says their size.

    ``own_weights``: the copy's weights are its own, to be changed; otherwise they are shared with ``model``.
    ``heads``: the layers that its family quantizes only where they are asked for are among its layers.
    Raises VitqError for a model of no known family or one that its copy does not equal, ValueError for what
    is no model or takes no such pictures.
    """
    module = network_of(model, caller)
    family, task = family_of(module), task_of(module, model)
    check_finite(module)
    check_given(module)
    size = family.input_size(module)
    copy = standalone(module).requires_grad_(False) if own_weights else private_copy(module)
    family.rewrite(copy)
    batch = _batch(pictures, size, task).with_tensors(usable).on(copy)
    one = task.one(batch)
    sites = [*family.sites(copy), *(family.head_sites(copy) if heads else ())]
    layers = trace_layers(copy, sites, one)
    check_faithful(module, copy, sites, layers, batch, one)
    return PreparedModel(copy, family, layers, size or one.shape, task)


def _batch(given: Tensor | Batch | None, size: tuple[int, int, int] | None, task: Task) -> Batch:
    if given is not None:
        return task.working(given.args[0] if isinstance(given, Batch) else given, size)
    if size is None:
        raise ValueError("this model takes pictures of any size: give images, so that its layers have one")
    return task.example(size)


def peeked(images: Tensor | Iterable, model: object, caller: str) -> tuple[Batch, Tensor | Iterable]:
    """The first picture as ``model`` takes it, and the whole stream again. Raises ValueError where there is
    none, and in ``caller``'s name for what is no model."""
    task = task_of(network_of(model, caller), model)
    if isinstance(images, Tensor):
        return (task.working(images, None)[:1] if len(images) else _nothing()), images
    batches = iterated(images)
    for item in batches:
        batch = task.working(item, None)
        if len(batch):
            return batch[:1], chain([item], batches)
    return _nothing(), images


def _nothing() -> Batch:
    raise ValueError("no pictures: give at least one")
