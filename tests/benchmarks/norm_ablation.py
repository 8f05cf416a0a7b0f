"""Changes around LayerNorm that leave what a model computes, tried in ``vitq``'s ablations.

For models of plain blocks, norm before attention and MLP.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the inputs' size, against that of the weights
PICTURES, ROWS, STEPS = 8, 1024, 15  # that a site's exponent is chosen on; steps of a 4-bit weight


def residual_rotated(module: VisionTransformer, _: Tensor) -> VisionTransformer:
    """A copy whose residual stream is turned by a random orthogonal matrix (after QuaRot, arXiv 2404.00456),
    so that no channel of it is loud.

    Norms and layer scales are folded into the layers beside them first. The matrix keeps the direction of
    ones, and so the mean and the deviation that a LayerNorm takes.
    """
    copy = deepcopy(module)
    turn = _keeping_ones(copy.embed_dim)
    with torch.no_grad():
        projection = copy.patch_embed.proj
        _set(projection, turn.T @ projection.weight.double().flatten(1), projection.bias.double() @ turn)
        for name in ("pos_embed", "cls_token", "reg_token"):
            if getattr(copy, name, None) is not None:
                part = getattr(copy, name)
                part.copy_(part.double() @ turn)
        for norm, reader in _norms_and_readers(copy):
            scale, shift = norm.weight.double(), norm.bias.double()
            weight = reader.weight.double()
            _set(reader, (weight * scale) @ turn, reader.bias.double() + weight @ shift)
            norm.weight.fill_(1.0)
            norm.bias.zero_()
        for writer, scaled in _writers(copy):
            scale = getattr(scaled, "gamma", torch.ones(1)).double()
            _set(
                writer,
                turn.T @ (scale[:, None] * writer.weight.double()),
                (scale * writer.bias.double()) @ turn,
            )
            if hasattr(scaled, "gamma"):
                scaled.gamma.fill_(1.0)
    copy.norm = _TurnedBack(copy.norm, turn.T)
    return copy


class _TurnedBack(nn.Module):
    """The last norm, behind the matrix that turns the stream back."""

    def __init__(self, norm: nn.Module, back: Tensor) -> None:
        super().__init__()
        self.norm = norm
        self.register_buffer("back", back.float())

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x @ self.back)


def smoothed(module: VisionTransformer, images: Tensor) -> VisionTransformer:
    """A copy in which a factor for each channel moved between a norm and the layer that reads it (after
    SmoothQuant, arXiv 2211.10438, and AWQ, arXiv 2306.00978); its exponent is the one, site by site, with
    which 4-bit weights lose least of the layer's output. Activations have a scale for each channel already.
    """
    copy, inputs = deepcopy(module), {}
    layers = dict(enumerate(_norms_and_readers(copy)))
    hooks = [
        norm.register_forward_hook(
            lambda _, __, output, index=index: inputs.update({index: output.flatten(0, 1)})
        )
        for index, (norm, _) in layers.items()
    ]
    with torch.no_grad():
        copy(images[:PICTURES])
        for hook in hooks:
            hook.remove()
        for index, (norm, reader) in layers.items():
            rows = inputs[index][:: max(1, len(inputs[index]) // ROWS)]
            factor = min(_factors(rows, reader.weight), key=lambda each: _lost(rows, reader.weight, each))
            norm.weight.div_(factor)
            norm.bias.div_(factor)
            reader.weight.mul_(factor)
    return copy


def _factors(rows: Tensor, weight: Tensor) -> list[Tensor]:
    """What every exponent gives, and none: [D] each, of mean size 1."""
    loud = rows.square().mean(dim=0).sqrt().clamp_min(1e-6)
    large = weight.abs().amax(dim=0).clamp_min(1e-6)
    tried = [loud**exponent / large ** (1 - exponent) for exponent in EXPONENTS]
    return [torch.ones_like(loud), *(each / each.log().mean().exp() for each in tried)]


def _lost(rows: Tensor, weight: Tensor, factor: Tensor) -> float:
    """Squared error of the output with 4-bit rows of the weight times ``factor``."""
    scaled = weight * factor
    low, high = scaled.amin(dim=1, keepdim=True), scaled.amax(dim=1, keepdim=True)
    step = (high - low) / STEPS
    rounded = ((scaled - low) / step).round() * step + low
    return float((rows @ (rounded / factor - weight).T).square().sum())


def _keeping_ones(size: int) -> Tensor:
    """A random orthogonal matrix [size, size], float64, that maps the vector of ones to itself."""
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(size - 1, size - 1, generator=generator, dtype=torch.float64)
    inner = torch.block_diag(torch.ones(1, 1, dtype=torch.float64), torch.linalg.qr(random).Q)
    across = torch.full((size,), -(size**-0.5), dtype=torch.float64)
    across[0] += 1  # the mirror that swaps the first axis and the direction of ones
    mirror = torch.eye(size, dtype=torch.float64) - 2 * across.outer(across) / (across @ across)
    return mirror @ inner @ mirror


def _norms_and_readers(module: VisionTransformer) -> Iterator[tuple[nn.Module, nn.Module]]:
    for block in module.blocks:
        yield block.norm1, block.attn.qkv
        yield block.norm2, block.mlp.fc1


def _writers(module: VisionTransformer) -> Iterator[tuple[nn.Module, nn.Module]]:
    """The layers whose output the stream takes, each with the layer scale behind it."""
    for block in module.blocks:
        yield block.attn.proj, block.ls1
        yield block.mlp.fc2, block.ls2


def _set(layer: nn.Module, weight: Tensor, bias: Tensor) -> None:
    layer.weight.copy_(weight.view_as(layer.weight))
    layer.bias.copy_(bias)
