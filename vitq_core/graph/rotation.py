"""Rotate the heads: in full precision the same model, whose queries, keys and values have no loud channel.

After QuaRot (arXiv 2404.00456): an orthogonal matrix of entries of about one size spreads an outlier over all
channels of its head, so that one scale fits them. It costs nothing later: the weights take it up.
"""

from __future__ import annotations

import torch
from scipy.fft import dct
from scipy.linalg import hadamard
from torch import Tensor, nn

from . import Family
from .site import Heads


def rotate_heads(module: nn.Module, family: Family) -> None:
    """In place, of a rewritten ``module``: queries and keys turn together, so that their products stay, and
    the projection turns the averaged values back."""
    for heads in family.heads(module):
        _rotate(module.get_submodule(heads.qkv), module.get_submodule(heads.proj), heads)


def _rotate(qkv: nn.Linear, proj: nn.Linear, heads: Heads) -> None:
    turn = rotation(heads.size).to(qkv.weight.device)
    turned = [part for part, asked in enumerate((heads.scores, heads.scores, heads.values)) if asked]
    for name, parameter in list(qkv.named_parameters()):
        parts = parameter.detach().to(torch.float64, copy=True).view(3, heads.count, heads.size, -1)
        parts[turned] = turn @ parts[turned]
        _set(qkv, name, parts)
    if heads.values:
        columns = proj.weight.detach().double().view(-1, heads.count, heads.size)
        _set(proj, "weight", columns @ turn.T)


def _set(layer: nn.Linear, name: str, values: Tensor) -> None:
    """A new parameter: the old one may belong to the user's model too."""
    old = getattr(layer, name)
    setattr(layer, name, nn.Parameter(values.reshape(old.shape).to(old), requires_grad=False))


def rotation(size: int) -> Tensor:
    """An orthogonal matrix [size, size], float64: Hadamard's, of ±1/√size, for a power of two; for any other
    size its Kronecker product with the cosine transform of the odd factor."""
    odd = size
    while odd % 2 == 0:
        odd //= 2
    power = size // odd
    signs = torch.from_numpy(hadamard(power)).double() / power**0.5
    cosines = torch.from_numpy(dct(torch.eye(odd, dtype=torch.float64).numpy(), norm="ortho"))
    return torch.kron(signs, cosines)
