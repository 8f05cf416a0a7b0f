"""Stem, chain and tail one after the other compute what the whole model computes."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vitq_core.calibration.segments import Paired, stem, tail
from vitq_core.families import family_of


def test_pieces_make_the_whole(variant: VisionTransformer, pictures) -> None:
    family, x = family_of(variant), pictures(variant)
    family.rewrite(variant)
    chain = [variant.get_submodule(name) for name in family.chain(variant)]
    with torch.no_grad():
        activation = stem(variant, chain)(x)
        for module in chain:
            activation = module(activation)
        assert torch.equal(tail(variant, chain)((x, activation)), variant(x))
        assert torch.equal(variant(x), variant(x)), "both leave the model as it was"
    assert not any("forward" in vars(module) for module in chain)


def test_the_model_is_whole_again_after_an_error(model: VisionTransformer, images) -> None:
    chain = list(model.blocks)
    hooks = [len(module._forward_pre_hooks) for module in model.modules()]
    with pytest.raises(RuntimeError):
        stem(model, chain)(images[:, :1])
    with pytest.raises(RuntimeError):
        tail(model, chain)((images, torch.zeros(1, 2, 3)))
    assert hooks == [len(module._forward_pre_hooks) for module in model.modules()]
    assert not any("forward" in vars(module) for module in chain)


def test_a_chain_that_is_not_run_is_noticed(images) -> None:
    with pytest.raises(RuntimeError, match="does not run the chain"):
        stem(nn.Flatten(), [nn.Linear(1, 1)])(images)


def test_pairs_can_be_read_twice() -> None:
    pairs = Paired([1, 2], [3, 4])
    assert list(pairs) == list(pairs) == [(1, 3), (2, 4)]
