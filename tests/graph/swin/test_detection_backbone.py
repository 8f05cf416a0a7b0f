"""Rewritten to fill up before rolling, timm's Swin is the backbone of the original detection code."""

import ast
from typing import Any

import numpy as np
import pytest
import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor
from torch.nn import functional

from vitq_core.common.hooks import hooked
from vitq_core.graph import FAMILIES

from ...swin import distance, golden

FAMILY = FAMILIES["swin"]
STAGES = 4


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    return golden("swin_detection_backbone")


def by_timm(name: str) -> str:
    """A parameter's name: timm merges patches at the start of a stage, the original at its end."""
    _, number, rest = name.split(".", 2) if name.startswith("layers.") else ("", "", "")
    return f"layers.{int(number) + 1}.{rest}" if rest.startswith("downsample") else name


def backbone(stored: dict[str, np.ndarray], pad_first: bool) -> SwinTransformer:
    arguments: dict[str, Any] = ast.literal_eval(str(stored["config"]))
    plain = SwinTransformer(
        **arguments, img_size=224, num_classes=0, strict_img_size=False, always_partition=True
    )
    model = FAMILY.build({**FAMILY.config(plain), "pad_first": pad_first})
    weights = {
        by_timm(key.removeprefix("w.backbone.")): torch.from_numpy(value)
        for key, value in stored.items()
        if key.startswith("w.backbone.")
    }
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert all(name.endswith("norm1.padding") or name.startswith("norm.") for name in missing)
    assert set(unexpected) == {f"norm{i}.{part}" for i in range(STAGES) for part in ("weight", "bias")}
    return model


def maps(model: SwinTransformer, stored: dict[str, np.ndarray], picture: str) -> list[Tensor]:
    """[B, C, h, w] of every stage, normed."""
    found: list[Tensor] = []
    hooks = [(stage, lambda _, __, output: found.append(output)) for stage in model.layers]
    with torch.no_grad(), hooked(*hooks):
        model.forward_features(torch.from_numpy(stored[picture]))
    norms = (
        {part: torch.from_numpy(stored[f"w.backbone.norm{i}.{part}"]) for part in ("weight", "bias")}
        for i in range(STAGES)
    )
    return [
        functional.layer_norm(output, output.shape[-1:], **norm).permute(0, 3, 1, 2)
        for output, norm in zip(found, norms, strict=True)
    ]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_it_gives_the_maps_of_the_original(stored: dict[str, np.ndarray], number: int) -> None:
    found = maps(backbone(stored, pad_first=True), stored, f"x{number}")
    for level, actual in enumerate(found):
        assert distance(actual, stored[f"y{number}.{level}"]) < 1e-5, level


def test_timms_own_order_is_another_one_at_sizes_that_no_window_divides(
    stored: dict[str, np.ndarray],
) -> None:
    found = maps(backbone(stored, pad_first=False), stored, "x1")
    assert min(distance(actual, stored[f"y1.{level}"]) for level, actual in enumerate(found)) > 0.01


def test_the_order_is_described_and_kept(stored: dict[str, np.ndarray]) -> None:
    for pad_first in (True, False):
        model = backbone(stored, pad_first)
        config = FAMILY.config(model)
        assert config["pad_first"] is pad_first
        again = FAMILY.build(config)
        again.load_state_dict(model.state_dict())
        FAMILY.rewrite(again)
        pairs = zip(maps(again, stored, "x1"), maps(model, stored, "x1"), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)
