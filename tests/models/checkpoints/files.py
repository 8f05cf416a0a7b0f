"""Tiny checkpoints as people have them."""

from __future__ import annotations

import json
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

ARCHITECTURE = "vit_tiny_patch16_224"
SHAPE = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
SWIN = "swin_tiny_patch4_window7_224"
SWIN_SHAPE = {
    "img_size": 32, "patch_size": 2, "embed_dim": 12, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4,
}  # fmt: skip


def net(architecture: str = ARCHITECTURE, seed: int = 0, **arguments: object) -> nn.Module:
    """With three classes unless `arguments` say otherwise, and no weight that is as a fresh model's."""
    torch.manual_seed(seed)
    shape = SWIN_SHAPE if architecture.startswith("swin") else SHAPE
    module = timm.create_model(architecture, **{"num_classes": 3, **shape, **arguments}).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def pictures(size: int = 16, seed: int = 1) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(seed))


def state(module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    return {prefix + name: value.clone() for name, value in module.state_dict().items()}


def save_folder(
    folder: Path, tensors: dict[str, Tensor], architecture: str = ARCHITECTURE, **config: object
) -> Path:
    """In timm's format; a value of None leaves a key out of config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "model.safetensors")
    shape = SWIN_SHAPE if architecture.startswith("swin") else SHAPE
    size = shape["img_size"]
    pretrained = {
        "input_size": [3, size, size],
        "fixed_input_size": True,
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
    }
    plain = {
        "architecture": architecture,
        "num_classes": 3,
        "model_args": shape,
        "pretrained_cfg": pretrained,
    }
    described = {key: value for key, value in {**plain, **config}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(described))
    return folder


def same(module: nn.Module, other: nn.Module, size: int = 16) -> bool:
    with torch.no_grad():
        return torch.equal(module(pictures(size)), other(pictures(size)))
