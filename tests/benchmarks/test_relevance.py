"""What relevance costs beside training on the same pictures: time in one run, memory in own processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

import vitq_core as vq

PICTURES = 16
REPEATS = 5

PEAK = """
import sys
from tests.benchmarks.test_memory import peak_bytes
from tests.benchmarks.test_relevance import deit_small_shape, pictures_of, train
import vitq_core as vq

kind, count = sys.argv[1], int(sys.argv[2])
model, pictures = deit_small_shape(), pictures_of(count)
if kind == "training":
    train(model, pictures)
else:
    vq.relevance(model, pictures, batch_size=count)
print(peak_bytes())
"""


def deit_small_shape() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(embed_dim=384, depth=12, num_heads=6).eval()


def pictures_of(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def train(model: VisionTransformer, pictures: torch.Tensor) -> None:
    """One forward and backward pass, gradients of all weights."""
    model.zero_grad()
    model(pictures).logsumexp(1).sum().backward()


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def test_relevance_costs_at_most_3_times_a_training_step():
    model, pictures = deit_small_shape(), pictures_of(PICTURES)
    train(model, pictures)
    vq.relevance(model, pictures)
    ratios = []
    for _ in range(REPEATS):
        step = seconds(lambda: train(model, pictures))
        ratios.append(seconds(lambda: vq.relevance(model, pictures)) / step)
    print(
        f"\nrelevance of {PICTURES} pictures, DeiT-S: {median(ratios):.2f} times forward plus backward "
        f"(median of {REPEATS}, {min(ratios):.2f} to {max(ratios):.2f})"
    )
    assert median(ratios) <= 3


def peak(kind: str, count: int) -> int:
    """Bytes of resident memory at most, in a process that does only this."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, kind, str(count)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's resident memory")
def test_relevance_takes_at_most_3_times_the_memory_of_training_per_picture():
    few, many = 4, PICTURES
    per_picture = {
        kind: (peak(kind, many) - peak(kind, few)) / (many - few) / 1e6 for kind in ("training", "relevance")
    }
    ratio = per_picture["relevance"] / per_picture["training"]
    print(
        f"\nmemory per picture, DeiT-S: relevance {per_picture['relevance']:.0f} MB, "
        f"training {per_picture['training']:.0f} MB, {ratio:.2f} times"
    )
    assert ratio <= 3
