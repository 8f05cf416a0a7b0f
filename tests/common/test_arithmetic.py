"""Explanations are the same whatever mode the caller is in."""

import pytest
import torch

import vitq_core as vq
from vitq_core.common.arithmetic import plain_arithmetic

MODES = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference": torch.inference_mode,
    "no grad": torch.no_grad,
}


@pytest.mark.parametrize("mode", MODES)
def test_relevance_and_bits_are_the_same_in_every_mode(model, images, mode: str) -> None:
    expected = vq.relevance(model, images)
    bits = vq.quantize(model, images, "lrp-budget").bits
    with MODES[mode]():
        found = vq.relevance(model, images)
        assert vq.importance(model, images).layer_scores == expected.layer_scores
        assert vq.quantize(model, images, "lrp-budget").bits == bits
    assert torch.equal(found.heatmaps, expected.heatmaps)


def test_the_mode_is_back_afterwards_also_after_an_error() -> None:
    @plain_arithmetic
    def fail() -> None:
        assert not torch.is_inference_mode_enabled() and not torch.is_autocast_enabled("cpu")
        raise ValueError("on purpose")

    with torch.inference_mode(), torch.autocast("cpu"):
        with pytest.raises(ValueError, match="on purpose"):
            fail()
        assert torch.is_inference_mode_enabled() and torch.is_autocast_enabled("cpu")
