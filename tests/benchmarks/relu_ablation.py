"""A change that a paper makes to a model before it quantizes it, tried in ``vitq``'s ablation."""

from __future__ import annotations

from copy import deepcopy

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

ITERATIONS, BATCH, STEP = 300, 32, 1e-3


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
