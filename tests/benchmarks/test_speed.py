"""Speed as ratios to full-precision forward passes of the same pictures, measured side by side in one run.

`make benchmarks` prints them. Machines are shared and noisy: the median of interleaved pairs counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

import vitq_core as vq

PICTURES = 32
REPEATS = 5


@pytest.fixture(scope="module")
def deit_small() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(embed_dim=384, depth=12, num_heads=6).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.randn(PICTURES, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    with torch.inference_mode():
        run()
    return time.perf_counter() - start


def test_calibrating_repq_costs_at_most_3_forward_passes(deit_small, pictures):
    recipe = vq.recipe("repq", weight_bits=4, act_bits=4)
    seconds(lambda: deit_small(pictures))
    ratios = []
    for _ in range(3):
        forward = seconds(lambda: deit_small(pictures))
        ratios.append(seconds(lambda: vq.quantize(deit_small, pictures, recipe)) / forward)
    print(
        f"\ncalibrate repq W4/A4 on {PICTURES} pictures, DeiT-S: "
        f"{median(ratios):.1f} forward passes {spread(ratios)}"
    )
    assert median(ratios) <= 3


@pytest.mark.parametrize("name", list(vq.RECIPES))
def test_a_simulated_forward_costs_at_most_1_4_full_precision_ones(deit_small, pictures, name):
    quantized = vq.quantize(deit_small, pictures[:4], vq.recipe(name, weight_bits=4, act_bits=4)).model
    for warm in (deit_small, quantized):
        seconds(lambda warm=warm: warm(pictures))
    ratios = []
    for _ in range(REPEATS):
        forward = seconds(lambda: deit_small(pictures))
        ratios.append(seconds(lambda: quantized(pictures)) / forward)
    print(
        f"\nsimulated forward {name} W4/A4, DeiT-S: {median(ratios):.2f} full-precision ones {spread(ratios)}"
    )
    assert median(ratios) <= 1.4


def test_a_run_on_the_bundled_model_takes_under_5_seconds():
    model = vq.load_model("demo-vit")
    images = torch.randn(32, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    took = seconds(lambda: vq.quantize(model, images, vq.recipe("repq", weight_bits=4, act_bits=4)))
    print(f"\nrepq W4/A4 on demo-vit, 32 pictures: {took:.1f} s")
    assert took < 5


def spread(ratios: list[float]) -> str:
    return f"(median of {len(ratios)}, {min(ratios):.2f} to {max(ratios):.2f})"
