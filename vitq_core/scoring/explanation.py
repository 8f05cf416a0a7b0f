"""``relevance``: explain predictions, and score every layer by its part in them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..common.arithmetic import plain_arithmetic
from ..common.monitor import Monitor, Progress
from ..common.words import counted
from ..data.batches import Watched, streamed
from ..graph.prepared import PreparedModel, peeked, prepare
from ..lrp.heat_map import heat_map
from ..lrp.propagate import Propagated, propagate
from ..lrp.targets import Targets, check_batch_size, check_takes
from ..models import Model
from .memory import at_once
from .scores import Importance, Tally


@dataclass(frozen=True, eq=False)
class Relevance:
    """``heatmaps`` [N, h, w]: one value for each patch; ``pixel_maps`` [N, H, W]: summed over the colours.
    Segment Anything and Swin have no heat maps (None); pixel maps of Segment Anything are a list, one for
    each picture.
    Only heat maps, which weigh attention by its gradient, tell one class from another: the rules that lead
    to the pixels forget which class they started from (transformer attribution's own finding for plain LRP).

    ``targets`` [N]: the classes explained; None for a model without classes, whose features are explained.
    ``importance``: the layers' scores with their standard errors.
    ``tensors``: {layer, or ``….attn.softmax``: (relevance, gradient)}, each [N, …], if they were asked for;
    in windows products have N times as many rows as a picture has windows.
    """

    importance: Importance
    heatmaps: Tensor | None
    pixel_maps: Tensor | list[Tensor]
    targets: Tensor | None
    tensors: dict[str, tuple[Tensor, Tensor]] | None = None

    @property
    def layer_scores(self) -> dict[str, float]:
        """{layer: mean over the pictures of mean((G ⊙ R)⁺)} (LRP-QViT's contribution C)."""
        return self.importance.layer_scores


@plain_arithmetic
def relevance(
    model: Model | nn.Module,
    images: Tensor | Iterable,
    targets: int | Iterable | Tensor | None = None,
    batch_size: int = 32,
    return_tensors: bool = False,
    progress: Progress | None = None,
    cancel: object = None,
    biases: str = "identity",
) -> Relevance:
    """Layer-wise relevance propagation (arXiv 2012.09838, 2401.11243) from the answer to the pixels.

    ``model``: of ``load_model``, a module, or what ``quantize`` returned; it is left as it was. ``images``:
    [N, 3, H, W] or an iterable of batches. ``targets``: a class, one for each picture, or the predictions.
    A model of features is explained as a whole: by half of their squared norm, in which each has its share.
    ``biases``: what a Swin's position biases and masks get, which it adds to attention scores:
    ``"identity"``, nothing, so that relevance is conserved, or ``"add"``, their share.
    Raises ValueError for unusable pictures, a class out of range or targets of a model without classes,
    VitqError for a model of no known family or one that does not answer as its task asks for.
    """
    check_batch_size(batch_size)
    watched = Watched(images)
    first, images = peeked(watched.images, model, "relevance")
    prepared = prepare(model, "relevance", first)
    check_takes(prepared.task, targets)
    monitor, targets = Monitor(progress, cancel), Targets(targets, watched.count)
    monitor.report(0.0, "Preparing")
    tally, parts = Tally(), []
    maps = [name for block in prepared.maps.blocks for name in block] if prepared.maps else []
    for batch in streamed(images, prepared.collate, at_once(prepared, batch_size)):
        found = propagate(
            prepared.module,
            prepared.observed,
            batch,
            targets.take(len(batch), prepared.device),
            to_pixels=True,
            keep=None if return_tensors else maps,
            task=prepared.task,
            biases=biases,
        )
        tally.add(found.scores())
        parts.append(_kept(found, prepared, return_tensors))
        monitor.report(watched.share(tally.pictures), f"{counted(tally.pictures, 'picture')} explained")
    targets.check_used()
    monitor.done("Done")
    heatmaps = None if prepared.maps is None else torch.cat([part[0] for part in parts])
    pixel_maps = _in_one([part[1] for part in parts])
    chosen = torch.cat([part[2] for part in parts]) if prepared.task.takes_targets else None
    tensors = _joined([part[3] for part in parts]) if return_tensors else None
    return Relevance(tally.result("relevance", prepared.names), heatmaps, pixel_maps, chosen, tensors)


def _in_one(maps: list[Tensor]) -> Tensor | list[Tensor]:
    """Of a list of [B, H, W]; of maps [H, W] that each belong to a picture of its own size the list."""
    return maps if maps[0].ndim == 2 else torch.cat(maps)


def _kept(found: Propagated, prepared: PreparedModel, tensors: bool) -> tuple:
    pairs = {name: (found.relevances[name], g) for name, g in found.gradients.items()} if tensors else None
    heat = None if prepared.maps is None else heat_map(found, prepared.maps)
    return heat, found.pixels[0].sum(-3), found.targets, pairs


def _joined(batches: list[dict[str, tuple[Tensor, Tensor]]]) -> dict[str, tuple[Tensor, Tensor]]:
    return {
        name: tuple(torch.cat(parts) for parts in zip(*(b[name] for b in batches), strict=True))
        for name in batches[0]
    }
