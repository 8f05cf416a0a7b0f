"""How much the patches of a picture differ, as a model's attention sees them (PSAQ-ViT, arXiv 2203.02250).

A real picture has an object before a background: some of its patches are alike and others are not. In noise
all are alike. So the similarities of all pairs of patches are spread out in the one and lie together in the
other, which the differential entropy of their density tells.
"""

from __future__ import annotations

from math import pi, sqrt

import torch
from torch import Tensor
from torch.nn import functional

BANDWIDTH = 0.01
POINTS = 10  # at which the density is looked at
TINY = 1e-4  # added to a density before its logarithm


def token_similarity(attended: Tensor, prefix: int = 0) -> Tensor:
    """[B, N, N]: cosines between all pairs of tokens of ``attended`` [B, heads, N, D], what an attention has
    averaged before its projection: of the mean over heads, without the first ``prefix`` tokens."""
    tokens = functional.normalize(attended.mean(1)[:, prefix:], dim=-1)
    return tokens @ tokens.transpose(-2, -1)


def evaluation_points(values: Tensor) -> Tensor:
    """[POINTS], evenly from the least of ``values`` to the greatest, without gradients."""
    low, high = (float(value) for value in torch.aminmax(values.detach()))
    return torch.linspace(low, high, POINTS, device=values.device, dtype=values.dtype)


def kernel_density(values: Tensor, points: Tensor) -> Tensor:
    """[B, P]: of ``values`` [B, M] at ``points`` [P], with Gaussian kernels of ``BANDWIDTH``."""
    # Point by point: all at once would hold ten times the largest tensor there is.
    return torch.stack([_density(values, point) for point in points], 1)


def _density(values: Tensor, point: Tensor) -> Tensor:
    kernels = (-0.5 * ((values - point) / BANDWIDTH).square()).exp()
    return kernels.mean(1) / (BANDWIDTH * sqrt(2 * pi))


def differential_entropy(density: Tensor, points: Tensor) -> Tensor:
    """[B]: the integral of −p ln p by trapezoids, of ``density`` [B, P] at ``points`` [P]."""
    shifted = density + TINY
    return torch.trapezoid(-shifted * shifted.log(), points, dim=1)


def patch_similarity_entropy(attended: Tensor, pictures: int, prefix: int = 0) -> Tensor:
    """The mean over ``pictures`` of the entropy of their patches' similarities, a number.

    ``attended`` [B, heads, N, D] as in :func:`token_similarity`; where attention is in windows, B counts
    those of all pictures, one picture's after the other, and their pairs are one picture's.
    """
    similarity = token_similarity(attended, prefix).reshape(pictures, -1)
    points = evaluation_points(similarity)
    return differential_entropy(kernel_density(similarity, points), points).mean()
