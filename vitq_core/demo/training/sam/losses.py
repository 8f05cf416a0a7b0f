"""What the masks are learned by: focal and Dice loss, and how well their IoU is predicted (SAM, arXiv
2304.02643, appendix A)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

FOCAL, PLAIN = 20.0, 2.0  # how much the loss of single pixels counts beside Dice's


def mask_losses(logits: Tensor, targets: Tensor, focal: bool) -> Tensor:
    """[P, M] of `logits` [P, M, h, w]; `targets` [P, h, w]: the share of each pixel that is the object's.

    Not `focal`: plain cross-entropy, which starts to learn sooner.
    """
    wanted = targets[:, None].expand_as(logits)
    entropy = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    shares = logits.sigmoid()
    pixels = FOCAL * (shares - wanted).square() * entropy if focal else PLAIN * entropy
    common = (shares * wanted).sum((2, 3))
    dice = 1 - (2 * common + 1) / (shares.sum((2, 3)) + wanted.sum((2, 3)) + 1)
    return pixels.mean((2, 3)) + dice


@torch.no_grad()
def true_ious(logits: Tensor, targets: Tensor) -> Tensor:
    """[P, M]: of the masks that `logits` [P, M, h, w] give with `targets` [P, h, w]."""
    masks, wanted = logits > 0, targets[:, None] > 0.5
    return (masks & wanted).sum((2, 3)) / (masks | wanted).sum((2, 3)).clamp_min(1)
