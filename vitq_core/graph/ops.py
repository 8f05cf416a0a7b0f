"""Operations as named modules, so that a site, a relevance rule or an export can hang on each of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function


class MatMul(nn.Module):
    """``a @ b`` of two activations."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b


class Softmax(nn.Module):
    """Over the last axis. Where gradients are off it writes over its input: fresh memory for an attention map
    costs as much as the arithmetic."""

    def forward(self, scores: Tensor) -> Tensor:
        if torch.is_grad_enabled() or scores.dtype != torch.float32:  # autocast widens other types
            return scores.softmax(-1)
        return torch.softmax(scores, -1, out=scores)


class Add(nn.Module):
    """A residual addition."""

    def forward(self, residual: Tensor, branch: Tensor) -> Tensor:
        return residual + branch


class Concat(nn.Module):
    """Tokens in a row: ``parts`` [B, n, C] → [B, Σ n, C]."""

    def forward(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts, dim=1)


class AddBias(nn.Module):
    """:func:`add_bias`, as a module."""

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        return add_bias(x, bias)


def add_bias(x: Tensor, bias: Tensor) -> Tensor:
    """``x + bias``, where no picture has a part in ``bias``; written over ``x`` where gradients are off.

    An operation of its own to torch's modes, so that relevance can tell it from the sum of two activations.
    """
    if has_torch_function((x, bias)):
        return handle_torch_function(add_bias, (x, bias), x, bias)
    if torch.is_grad_enabled() or x.dtype != bias.dtype:
        return x + bias
    return x.add_(bias)


def add_layer_bias(x: Tensor, bias: Tensor) -> Tensor:
    """A part of a linear layer's output with the bias of that part, which is kept beside the layer: to
    relevance as the layer's own. A new tensor: others may have kept the layer's output."""
    if has_torch_function((x, bias)):
        return handle_torch_function(add_layer_bias, (x, bias), x, bias)
    return x + bias


def adopt(target: nn.Module, source: nn.Module) -> None:
    """Give ``target`` the child modules of ``source`` under the same names."""
    for name, child in source.named_children():
        target.add_module(name, child)
