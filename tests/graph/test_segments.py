"""Stem, blocks and tail one after the other compute what the whole model computes."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import vitq_core as vq
from vitq_core.graph import family_of
from vitq_core.graph.segments import Paired, runs_in_sequence, stem, tail

from ..conftest import Interleaved


def test_pieces_make_the_whole(mixture: VisionTransformer, pictures) -> None:
    family, x = family_of(mixture), pictures(mixture)
    family.rewrite(mixture)
    blocks = [mixture.get_submodule(name) for name in family.blocks(mixture)]
    with torch.no_grad():
        activation = stem(mixture, blocks)(x)
        for module in blocks:
            activation = module(activation)
        assert torch.equal(tail(mixture, blocks)((x, activation)), mixture(x))
        assert torch.equal(mixture(x), mixture(x)), "both leave the model as it was"
    assert not any("forward" in vars(module) for module in blocks)


def test_the_model_is_whole_again_after_an_error(model: VisionTransformer, images) -> None:
    blocks = list(model.blocks)
    hooks = [len(module._forward_pre_hooks) for module in model.modules()]
    with pytest.raises(RuntimeError):
        stem(model, blocks)(images[:, :1])
    with pytest.raises(RuntimeError):
        tail(model, blocks)((images, torch.zeros(1, 2, 3)))
    assert hooks == [len(module._forward_pre_hooks) for module in model.modules()]
    assert not any("forward" in vars(module) for module in blocks)


def test_a_blocks_that_is_not_run_is_noticed(images) -> None:
    with pytest.raises(RuntimeError, match="does not run the blocks"):
        stem(nn.Flatten(), [nn.Linear(1, 1)])(images)


def test_pairs_can_be_read_twice() -> None:
    pairs = Paired([1, 2], [3, 4])
    assert list(pairs) == list(pairs) == [(1, 3), (2, 4)]


def test_a_forward_between_the_blocks_is_noticed_and_still_calibrated_on_all_pictures():
    torch.manual_seed(0)
    size = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 4}
    plain, own = VisionTransformer(**size).eval(), Interleaved(**size).eval()
    picture = torch.randn(1, 3, 16, 16)
    assert runs_in_sequence(plain, list(plain.blocks), picture)
    assert not runs_in_sequence(own, list(own.blocks), picture)
    pictures = torch.randn(40, 3, 16, 16)
    result = vq.quantize(own, pictures, vq.recipe("repq", weight_bits=8, act_bits=8))
    with torch.no_grad():
        assert (result.model(pictures) - own(pictures)).abs().max() < 0.1 * own(pictures).abs().max()
