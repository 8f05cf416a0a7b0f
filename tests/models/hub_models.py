"""Tiny models as repositories of a hub hold them: {file: bytes}."""

from __future__ import annotations

import json

import timm
import torch
from safetensors.torch import save

SIZES = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3}
SWIN = {
    "img_size": 16,
    "patch_size": 2,
    "embed_dim": 12,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": 4,
}
NAMES = ["cat", "dog", "fish"]
VIT = "vit_tiny_patch16_224"


def config(architecture: str = VIT, args: dict | None = None, **changes) -> bytes:
    """timm's config.json."""
    pretrained = {
        "input_size": [3, 16, 16], "fixed_input_size": True, "crop_pct": 1.0, "num_classes": 3,
        "mean": [0.5] * 3, "std": [0.25] * 3, "classifier": "head", "first_conv": "patch_embed.proj",
    }  # fmt: skip
    said = {"architecture": architecture, "num_classes": 3, "model_args": SIZES if args is None else args}
    return json.dumps(said | {"label_names": NAMES, "pretrained_cfg": pretrained} | changes).encode()


def tiny_files(
    architecture: str = VIT, args: dict | None = None, seed: int = 0, **changes
) -> dict[str, bytes]:
    """Three classes, on pictures of 16×16 pixels."""
    torch.manual_seed(seed)
    args = SIZES if args is None else args
    module = timm.create_model(architecture, num_classes=3, **args)
    weights = save({name: tensor.contiguous() for name, tensor in module.state_dict().items()})
    return {"config.json": config(architecture, args, **changes), "model.safetensors": weights}
