"""A tiny Swin, and the golden ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.layers import RmsNorm
from timm.models.swin_transformer import PatchMerging, SwinTransformer, SwinTransformerBlock
from torch import Tensor, nn

TINY = {
    "img_size": 16, "patch_size": 2, "embed_dim": 12, "depths": (2, 2), "num_heads": (2, 4),
    "window_size": 4, "mlp_ratio": 2, "num_classes": 5,
}  # fmt: skip

# Name → constructor arguments, and where the model takes pictures of any size, the size of these.
VARIANTS: dict[str, tuple[dict[str, Any], tuple[int, int] | None]] = {
    "plain": ({}, None),
    "window larger than the last map": ({"window_size": 6}, None),
    "windows that are not square": ({"img_size": 24, "window_size": (3, 6)}, None),
    "a window for each stage": ({"window_size": ((2, 4), (3, 3))}, None),
    "sides that nothing divides": ({"img_size": (18, 26), "window_size": 4}, None),
    "odd sides to merge": ({"img_size": (14, 22), "depths": (1, 2, 1), "num_heads": (1, 2, 4)}, None),
    "always in windows": ({"img_size": (10, 18), "window_size": 5, "always_partition": True}, None),
    "any size": ({"strict_img_size": False}, (22, 14)),
    "any size, always in windows": (
        {"strict_img_size": False, "always_partition": True, "window_size": 3},
        (14, 26),
    ),
    "no qkv bias": ({"qkv_bias": False}, None),
    "head width": ({"head_dim": 5}, None),
    "max pooled": ({"global_pool": "max"}, None),
    "one stage": ({"depths": (2,), "num_heads": (3,)}, None),
    "rms norm": ({"norm_layer": partial(RmsNorm, eps=1e-5)}, None),
    "no head": ({"num_classes": 0}, None),
    "not pooled": ({"num_classes": 0, "global_pool": ""}, None),
    "one channel": ({"in_chans": 1}, None),
}


def tiny_swin(seed: int = 0, **options: Any) -> SwinTransformer:
    """In evaluation mode, every parameter random, channels spread as LayerNorms' are; position biases as loud
    as scores."""
    model = SwinTransformer(**{**TINY, **options}).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "bias_table" in name:
                parameter.copy_(noise)
            elif parameter.ndim > 1:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(noise.mul(0.5).exp() if name.endswith("weight") else 0.3 * noise)
    return model


def variant(name: str) -> tuple[SwinTransformer, Tensor]:
    """The model of :data:`VARIANTS` and two pictures for it."""
    options, size = VARIANTS[name]
    model = tiny_swin(**options)
    return model, pictures(model, 2, size)


def pictures(model: SwinTransformer, count: int = 6, size: tuple[int, int] | None = None) -> Tensor:
    shape = (count, model.in_chans, *(size or model.patch_embed.img_size))
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def traits(name: str) -> set[str]:
    """What happens in a forward of the variant."""
    model, images = variant(name)
    found: set[str] = set()

    def in_block(block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        sides = zip(inputs[0].shape[1:3], block.window_size, strict=True)
        found.update({"filled up"} if any(length % side for length, side in sides) else ())
        found.update({"shifted"} if any(block.shift_size) else ())

    def in_merging(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found.update({"odd"} if any(length % 2 for length in inputs[0].shape[1:3]) else ())

    for _, part in model.layers.named_modules():
        if isinstance(part, SwinTransformerBlock):
            part.register_forward_pre_hook(in_block)
        elif isinstance(part, PatchMerging):
            part.register_forward_pre_hook(in_merging)
    with torch.no_grad():
        model(images)
    return found


def golden(name: str) -> dict[str, np.ndarray]:
    """The arrays of a file in tests/golden."""
    with np.load(Path(__file__).parent / "golden" / f"{name}.npz") as data:
        return {key: data[key] for key in data.files}


def golden_swin(stored: dict[str, np.ndarray]) -> SwinTransformer:
    """The tiny model that the numbers were made with."""
    geometry = {key[5:]: value.tolist() for key, value in stored.items() if key.startswith("geom.")}
    model = SwinTransformer(**geometry)
    model.load_state_dict({key[2:]: torch.from_numpy(stored[key]) for key in stored if key.startswith("w.")})
    return model.eval().requires_grad_(False)


def distance(actual: Tensor, expected: np.ndarray | Tensor) -> float:
    """The greatest difference, relative to the greatest value."""
    expected = torch.as_tensor(expected)
    return float((actual - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
