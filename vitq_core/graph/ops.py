"""Operations as named modules, so that a site, a relevance rule or an export can hang on each of them."""

from __future__ import annotations

from torch import Tensor, nn


class MatMul(nn.Module):
    """``a @ b`` of two activations."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b


class Add(nn.Module):
    """A residual addition."""

    def forward(self, residual: Tensor, branch: Tensor) -> Tensor:
        return residual + branch
