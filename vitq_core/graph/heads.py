"""Heads that are easier to quantize, in full precision the same model: the weights take up the change.

Centred: softmax does not hear what is added to all keys, and shares that sum to 1 pass on what is added to
all values. So keys and values lose their means, and a range need not span them; the bias behind the
projection makes up for the values'.

Rotated (after QuaRot, arXiv 2404.00456): an orthogonal matrix of entries of about one size spreads a loud
channel over all channels of its head, so that one scale fits them.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from scipy.fft import dct
from scipy.linalg import hadamard
from torch import Tensor, nn

from ..common.batch import Batch
from ..common.hooks import Hook, hooked
from ..common.modes import evaluating
from . import Family
from .site import Heads


def centre_heads(module: nn.Module, family: Family, pictures: Iterable[Batch]) -> None:
    """In place, of a rewritten ``module``: keys and values get a mean of 0 over the tokens of ``pictures``,
    where the layers have the biases for it. One forward pass."""
    all_heads = family.heads(module)
    means = _means(module, [heads.qkv for heads in all_heads], pictures)
    for heads in all_heads:
        qkv, proj = module.get_submodule(heads.qkv), module.get_submodule(heads.proj)
        if qkv.bias is not None:
            _centre(qkv, proj, heads, means[heads.qkv])


def _means(module: nn.Module, names: list[str], pictures: Iterable[Batch]) -> dict[str, Tensor]:
    """What the linear layers ``names`` read, in the mean over all tokens: [channels], float64."""
    sums: dict[str, Tensor | int] = dict.fromkeys(names, 0)
    tokens = dict.fromkeys(names, 0)

    def watch(name: str) -> Hook:
        def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            rows = inputs[0].flatten(0, -2)
            sums[name] += rows.sum(0).double()
            tokens[name] += len(rows)

        return module.get_submodule(name), add

    with evaluating(module), torch.no_grad(), hooked(*map(watch, names)):
        for chunk in pictures:
            chunk.through(module)
    return {name: sums[name] / tokens[name] for name in names}


def _centre(qkv: nn.Linear, proj: nn.Linear, heads: Heads, entering: Tensor) -> None:
    """``entering`` [channels]: the mean of what ``qkv`` reads."""
    bias = qkv.bias.detach().double()
    _, keys, values = (qkv.weight.detach().double() @ entering + bias).chunk(3)
    moved = torch.zeros_like(bias).view(3, -1)
    if heads.scores:
        moved[1] = keys
    if heads.values and proj.bias is not None:
        moved[2] = values
        _set(proj, "bias", proj.bias.detach().double() + proj.weight.detach().double() @ values)
    _set(qkv, "bias", bias - moved.flatten())


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
