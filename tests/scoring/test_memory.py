"""Scores do not depend on how many pictures there is memory for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

import vitq_core as vq
from vitq_core.scoring import memory
from vitq_core.scoring.memory import at_once


def prepared(numbers: int, chunk: int = 32) -> SimpleNamespace:
    layers = {"a": SimpleNamespace(outputs=numbers // 2), "b": SimpleNamespace(outputs=numbers // 2)}
    return SimpleNamespace(layers=layers, task=SimpleNamespace(chunk=chunk))


@pytest.mark.parametrize(
    ("numbers", "chunk", "most", "pictures"),
    [
        (1_000_000, 32, 32, 32),  # demo-vit's size
        (24_000_000, 32, 32, 3),  # DeiT-Base's
        (24_000_000, 32, 2, 2),
        (10**9, 32, 32, 1),
        (0, 32, 32, 32),
        (1_000_000, 1, 32, 1),
    ],
)
def test_large_models_are_scored_by_fewer_pictures(
    numbers: int, chunk: int, most: int, pictures: int
) -> None:
    assert at_once(prepared(numbers, chunk), most) == pictures


@pytest.mark.parametrize("source", ["relevance", "fisher"])
def test_the_scores_are_the_same(model, images, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    whole = vq.importance(model, images, source).layer_scores
    explained = vq.relevance(model, images).pixel_maps
    monkeypatch.setattr(memory, "HELD_BYTES", 1.0)
    seen = []
    apart = vq.importance(model, images, source, progress=lambda share, said: seen.append(said)).layer_scores
    assert "1 picture seen" in seen
    assert apart == pytest.approx(whole, rel=1e-4)
    torch.testing.assert_close(vq.relevance(model, images).pixel_maps, explained, rtol=1e-3, atol=1e-6)


def test_a_recipe_gives_the_same_bits(model, images, calibrating, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = vq.quantize(model, images, calibrating("lrp", 4, 4)).bits
    monkeypatch.setattr(memory, "HELD_BYTES", 1.0)
    assert vq.quantize(model, images, calibrating("lrp", 4, 4)).bits == whole
