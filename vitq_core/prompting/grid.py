"""A grid of clicks over a picture, and of its answers those that are good enough."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from segment_anything.utils.amg import build_point_grid, calculate_stability_score
from torch import Tensor

from ..common.checks import check_number, check_share
from ..common.errors import NotFinite
from ..common.monitor import Monitor
from .rle import RunLengths
from .segmenter import COLLAPSED, OpenPicture


@dataclass(frozen=True)
class Thresholds:
    """What an answer must have to stay; by default, what the package's generator asks for.

    ``predicted_iou``: more than this, as the model believes. ``stability``: at least this IoU between its
    mask with all logits moved up and down by ``offset``. 0 for one of them asks for nothing. ``overlap``: IoU
    of two boxes above which the worse mask goes.
    """

    predicted_iou: float = 0.88
    stability: float = 0.95
    offset: float = 1.0
    overlap: float = 0.7

    def __post_init__(self) -> None:
        for name in ("predicted_iou", "stability", "overlap"):
            check_share(name, getattr(self, name))
        check_number("offset", self.offset, above=0)


@dataclass(frozen=True, eq=False)
class Part:
    """A mask as ``runs`` at the size that was worked at, the IoU the model believes it has, how ``stable`` it
    is, and the ``point`` (x, y) in pixels of the original that was clicked on."""

    runs: RunLengths = field(repr=False)
    predicted_iou: float
    stability: float
    point: tuple[float, float]


def answers(
    opened: OpenPicture, points_per_side: int, batch: int, thresholds: Thresholds, monitor: Monitor
) -> Iterator[Part]:
    """Every candidate of every click that is good enough, at :func:`working_size`."""
    height, width = opened.size
    points = build_point_grid(points_per_side) * [width, height]
    # Double precision until they are encoded, as the generator has it; the predictor rounds here already.
    asked = torch.as_tensor(opened.predictor.transform.apply_coords(points, opened.size))
    for start in range(0, len(points), batch):
        monitor.report(start / len(points), f"Asking at {start} of {len(points)} points")
        low_res, ious = _decoded(opened, asked[start : start + batch])
        for point, logits, believed in zip(points[start:], low_res, ious, strict=False):
            yield from _good(opened, tuple(point.tolist()), logits, believed, thresholds)


def working_size(opened: OpenPicture) -> tuple[int, int]:
    """(height, width) of the original, or what the model sees of it where that is smaller."""
    predictor = opened.predictor
    fits = max(opened.size) <= predictor.model.image_encoder.img_size
    return opened.size if fits else predictor.input_size


@torch.no_grad()
def _decoded(opened: OpenPicture, asked: Tensor) -> tuple[Tensor, Tensor]:
    """Low-res logits [B, C, h, w] and predicted IoUs [B, C] of clicks [B, 2] in the model's frame."""
    sam, clicks = opened.predictor.model, asked.to(opened.embedding.device)[:, None]
    labels = torch.ones(clicks.shape[:2], dtype=torch.int, device=clicks.device)
    sparse, dense = sam.prompt_encoder(points=(clicks, labels), boxes=None, masks=None)
    low_res, ious = sam.mask_decoder(
        image_embeddings=opened.embedding,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
    )
    if not (torch.isfinite(low_res).all() and torch.isfinite(ious).all()):
        raise NotFinite(COLLAPSED.format("answer"))
    return low_res, ious


@torch.no_grad()
def _good(
    opened: OpenPicture, point: tuple[float, float], logits: Tensor, believed: Tensor, thresholds: Thresholds
) -> Iterator[Part]:
    """Of a click's candidates, logits [C, h, w] with predicted IoUs [C]; none that is empty."""
    if thresholds.predicted_iou:
        keep = believed > thresholds.predicted_iou
        logits, believed = logits[keep], believed[keep]
    if not len(believed):
        return
    sam, size = opened.predictor.model, working_size(opened)
    large = sam.postprocess_masks(logits[None], opened.predictor.input_size, size)[0]
    masks = large > sam.mask_threshold
    stability = calculate_stability_score(large, sam.mask_threshold, thresholds.offset)
    keep = masks.flatten(1).any(1)
    if thresholds.stability:
        keep &= stability >= thresholds.stability
    for index in torch.nonzero(keep).flatten().tolist():
        runs = RunLengths.of(masks[index].cpu().numpy())
        yield Part(runs, believed[index].item(), stability[index].item(), point)
