"""Two changes that papers make to a model before they quantize it, tried in ``vitq``'s ablation."""

from __future__ import annotations

from copy import deepcopy

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

ITERATIONS, BATCH, STEP = 300, 32, 1e-3


def hadamard(size: int) -> Tensor:
    """The orthogonal matrix of ±1/√size by Sylvester's construction; ``size``: a power of two."""
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), matrix)
    if len(matrix) != size:
        raise ValueError(f"{size} is no power of two")
    return matrix / size**0.5


def rotated(module: VisionTransformer, images: Tensor) -> VisionTransformer:
    """A copy with the same outputs: in every head queries, keys and values are rotated (after QuaRot,
    arXiv 2404.00456), which spreads outliers. q·kᵀ keeps its value, the projection turns values back."""
    module = deepcopy(module)
    for block in module.blocks:
        attention = block.attn
        heads, size = attention.num_heads, attention.head_dim
        turn = hadamard(size)
        with torch.no_grad():
            weight = attention.qkv.weight.view(3, heads, size, -1)
            weight.copy_(turn @ weight)
            bias = attention.qkv.bias.view(3, heads, size)
            bias.copy_(bias @ turn.T)
            weight = attention.proj.weight
            weight.copy_((weight.view(len(weight), heads, size) @ turn.T).flatten(1))
    return module


def with_relu(module: VisionTransformer, images: Tensor) -> VisionTransformer:
    """A copy in which ReLU stands for GELU and every MLP has learned to give what it gave (after APHQ-ViT,
    arXiv 2504.02508, section 3.3), each from its inputs in the original."""
    copy = deepcopy(module)
    torch.manual_seed(0)
    for old, new in zip(module.blocks, copy.blocks, strict=True):
        inputs: list[Tensor] = []
        hook = old.mlp.register_forward_pre_hook(lambda _, x, kept=inputs: kept.append(x[0]))
        with torch.no_grad():
            for chunk in images.split(BATCH):
                module(chunk)
        hook.remove()
        new.mlp.act = nn.ReLU()
        _imitate(old.mlp, new.mlp.requires_grad_(), torch.cat(inputs))
    return copy.requires_grad_(False)


def _imitate(teacher: nn.Module, student: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        wanted = torch.cat([teacher(chunk) for chunk in x.split(BATCH)])
    optimizer = torch.optim.Adam(student.parameters(), STEP)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, ITERATIONS)
    for _ in range(ITERATIONS):
        index = torch.randint(len(x), (BATCH,))
        optimizer.zero_grad()
        functional.mse_loss(student(x[index]), wanted[index]).backward()
        optimizer.step()
        schedule.step()
