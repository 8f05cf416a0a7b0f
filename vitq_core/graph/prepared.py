"""A model prepared for looking inside: a rewritten copy that shares the weights, and its layers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from ..common.batch import checked, unpacked
from ..data.batches import iterated
from ..tasks import Task, task_of
from . import AttentionMaps, Family, family_of
from .copies import check_finite, module_of, private_copy, usable
from .site import Layer
from .tracing import trace_layers


@dataclass
class Subject:
    """``module``: rewritten, in evaluation mode, nothing requires grad; the model it came from is untouched.

    ``observed``: the names of the layers and of the attention maps (``….attn.softmax``).
    """

    module: nn.Module
    family: Family
    layers: dict[str, Layer]
    maps: AttentionMaps
    input_size: tuple[int, int, int]
    task: Task

    @property
    def names(self) -> list[str]:
        return list(self.layers)

    @property
    def observed(self) -> list[str]:
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
    def float_bytes(self) -> int:
        """Of what stays in floating point: parameters and buffers that are no layer's weight."""
        weights = {f"{name}.weight" for name, layer in self.layers.items() if layer.weight is not None}
        kept = [tensor for name, tensor in self.module.state_dict().items() if name not in weights]
        return sum(tensor.numel() * tensor.element_size() for tensor in kept)

    def scales(self, layer: Layer) -> int:
        """How many scales a layer's quantizers have: one for each weight row, input, normalized channel."""
        if layer.weight is None:
            return len(layer.inputs)
        rows, channels = self.module.get_submodule(layer.name).weight.shape[:2]
        return rows + (channels if layer.inputs[0].role == "post_layernorm" else 1)

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    def batch(self, pictures: Tensor) -> Tensor:
        """``pictures`` as the module takes them, and as autograd does."""
        return usable(pictures).to(self.device, torch.float32)


def subject_of(model: object, taker: str, picture: Tensor | None) -> Subject:
    """``picture``: [1, C, H, W], what the model will see; None where the model itself says its size.

    Raises VitqError for a model of no known family, ValueError for what is no model or takes no such picture.
    """
    module = module_of(model, taker)
    family = family_of(module)
    check_finite(module)
    size = family.input_size(module)
    copy = private_copy(module)
    family.rewrite(copy)
    picture = usable(_blank(size) if picture is None else checked(picture, size))
    picture = picture.to(next(copy.parameters()))
    layers = trace_layers(copy, family, picture)
    maps = family.attention_maps(copy, tuple(picture.shape[2:]))
    return Subject(copy, family, layers, maps, tuple(picture.shape[1:]), task_of(module, model))


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
