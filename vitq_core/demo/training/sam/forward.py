"""A Sam's forward for training: pictures of any size, and prompts for many pictures at once.

The package's own decoder takes one picture at a time and its encoder pictures of one size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional


def use_size(sam: Sam, side: int) -> None:
    """Let the prompt encoder take pictures of `side` × `side` pixels."""
    grid = side // sam.image_encoder.patch_embed.proj.kernel_size[0]
    sam.prompt_encoder.input_image_size = (side, side)
    sam.prompt_encoder.image_embedding_size = (grid, grid)


def embedded(sam: Sam, pictures: Tensor) -> Tensor:
    """[B, C, g, g] of normalized pictures [B, 3, S, S]; positions are interpolated."""
    encoder = sam.image_encoder
    x = encoder.patch_embed(pictures)
    x = x + _resized(encoder.pos_embed, x.shape[1:3])
    for block in encoder.blocks:
        x = block(x)
    return encoder.neck(x.permute(0, 3, 1, 2))


def _resized(positions: Tensor, size: Sequence[int]) -> Tensor:
    if positions.shape[1:3] == tuple(size):
        return positions
    channels_first = positions.permute(0, 3, 1, 2)
    small = functional.interpolate(channels_first, tuple(size), mode="bilinear", antialias=True)
    return small.permute(0, 2, 3, 1)


@dataclass(frozen=True)
class Prompts:
    """First those without a box, `points` [a, n, 2] with `labels` [a, n]; then those with one, `boxes` [b, 4]
    and `box_points` [b, n − 1, 2] with `box_labels`. `masks` [a + b, 1, 4g, 4g]: logits of an earlier answer,
    or None.
    """

    points: Tensor
    labels: Tensor
    box_points: Tensor
    box_labels: Tensor
    boxes: Tensor
    masks: Tensor | None = None

    def embedded(self, sam: Sam) -> tuple[Tensor, Tensor]:
        """Sparse [a + b, n + 1, C] and dense [a + b, C, g, g]; prompts with and without a box have as many
        tokens, because a missing box is one."""
        encoder, parts = sam.prompt_encoder, []
        of_points, of_boxes = _split(self.masks, len(self.points))
        if len(self.points):
            parts.append(encoder((self.points, self.labels), None, of_points))
        if len(self.boxes):
            clicks = (self.box_points, self.box_labels) if self.box_points.shape[1] else None
            parts.append(encoder(clicks, self.boxes, of_boxes))
        return tuple(torch.cat(each) for each in zip(*parts, strict=True))

    def with_clicks(self, clicks: Tensor, labels: Tensor, masks: Tensor) -> Prompts:
        """One click more each, `clicks` [a + b, 1, 2] and `labels` [a + b, 1], and earlier answers."""
        (a, b), (c, d) = (_split(each, len(self.points)) for each in (clicks, labels))
        return Prompts(
            torch.cat((self.points, a), 1),
            torch.cat((self.labels, c), 1),
            torch.cat((self.box_points, b), 1),
            torch.cat((self.box_labels, d), 1),
            self.boxes,
            masks,
        )


def _split(each: Tensor | None, place: int) -> tuple[Tensor | None, Tensor | None]:
    return (None, None) if each is None else (each[:place], each[place:])


def decoded(sam: Sam, embeddings: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor]:
    """Logits [P, 4, 4g, 4g] and predicted IoUs [P, 4] for `embeddings` [P, C, g, g], one each prompt."""
    decoder = sam.mask_decoder
    sparse, dense = prompts.embedded(sam)
    own = torch.cat((decoder.iou_token.weight, decoder.mask_tokens.weight))
    tokens = torch.cat((own.expand(len(sparse), -1, -1), sparse), 1)
    positions = sam.prompt_encoder.get_dense_pe().expand_as(embeddings)
    read, picture = decoder.transformer(embeddings + dense, positions, tokens)
    upscaled = decoder.output_upscaling(picture.transpose(1, 2).reshape(embeddings.shape))
    filters = [mlp(read[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)]
    masks = torch.einsum("pmc,pchw->pmhw", torch.stack(filters, 1), upscaled)
    return masks, decoder.iou_prediction_head(read[:, 0])
