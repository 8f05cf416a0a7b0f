"""Transformer attribution (arXiv 2012.09838): where in the picture the answer comes from."""

from __future__ import annotations

import torch
from torch import Tensor

from ..graph import AttentionMaps
from .propagate import Propagated


def heat_map(propagated: Propagated, maps: AttentionMaps) -> Tensor:
    """[B, rows, columns]: the product over the blocks of ``Ā = I + mean over heads of (∇A ⊙ R_A)⁺``.

    The row of the class token, or the mean over the rows of the tokens that are pooled.
    """
    rollout = None
    for block in maps.blocks:
        attention = _weighted_attention(propagated, block)
        rollout = attention if rollout is None else attention @ rollout
    row = rollout[:, maps.answer].mean(1)
    return row[:, maps.prefix :].reshape(len(row), *maps.grid)


def _weighted_attention(propagated: Propagated, block: tuple[str, ...]) -> Tensor:
    """Ā [B, tokens, tokens]; attentions side by side in one block add up."""
    parts = [
        (propagated.gradients[name] * propagated.relevances[name]).clamp_(min=0).mean(1) for name in block
    ]
    total = torch.stack(parts).sum(0)
    return total + torch.eye(total.shape[-1], device=total.device)
