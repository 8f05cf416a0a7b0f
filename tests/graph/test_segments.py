"""Segments one after the other compute what the whole model computes."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.graph import family_of
from vitq_core.graph.segments import Segment, segments

from ..conftest import Interleaved


def run(found: list[Segment], model: torch.nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    stream = None
    with torch.no_grad():
        for segment in found:
            stream = segment.run(model, Batch((pictures,)), stream)
    return stream


def test_pieces_make_the_whole(mixture: VisionTransformer, pictures) -> None:
    family, x = family_of(mixture), pictures(mixture)
    family.rewrite(mixture)
    blocks = family.blocks(mixture)
    found = segments(mixture, blocks, Batch((x[:1],)))
    assert len(found) == len(blocks) + 2 and [segment.last for segment in found].count(True) == 1
    with torch.no_grad():
        assert torch.equal(run(found, mixture, x), mixture(x))
        assert torch.equal(mixture(x), mixture(x)), "they leave the model as it was"
    assert not any("forward" in vars(module) for module in mixture.modules())


def test_the_model_is_whole_again_after_an_error(model: VisionTransformer, images) -> None:
    blocks = [f"blocks.{index}" for index in range(len(model.blocks))]
    first, *_, last = segments(model, blocks, Batch((images[:1],)))
    hooks = [len(module._forward_pre_hooks) for module in model.modules()]
    with pytest.raises(RuntimeError):
        first.run(model, Batch((images[:, :1],)), None)
    with pytest.raises(RuntimeError):
        last.run(model, Batch((images,)), torch.zeros(1, 2, 3))
    assert hooks == [len(module._forward_pre_hooks) for module in model.modules()]
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_model_that_stops_running_its_blocks_is_noticed(model: VisionTransformer, images) -> None:
    first = segments(model, [f"blocks.{index}" for index in range(len(model.blocks))], Batch((images[:1],)))[
        0
    ]
    with pytest.raises(RuntimeError, match="does not run the blocks"):
        first.run(Unrun(model), Batch((images,)), None)


class Unrun(torch.nn.Module):
    """Has blocks and does not run them."""

    def __init__(self, model: VisionTransformer) -> None:
        super().__init__()
        self.blocks = model.blocks

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


def test_a_forward_between_the_blocks_is_noticed_and_still_calibrated_on_all_pictures():
    torch.manual_seed(0)
    size = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 4}
    plain, own = VisionTransformer(**size).eval(), Interleaved(**size).eval()
    picture = Batch((torch.randn(1, 3, 16, 16),))
    blocks = ["blocks.0", "blocks.1"]
    assert [len(segments(module, blocks, picture)) for module in (plain, own)] == [4, 1]
    assert len(segments(plain, [], picture)) == 1
    pictures = torch.randn(40, 3, 16, 16)
    result = vq.quantize(own, pictures, vq.recipe("repq", weight_bits=8, act_bits=8))
    with torch.no_grad():
        assert (result.model(pictures) - own(pictures)).abs().max() < 0.1 * own(pictures).abs().max()


class Masked(VisionTransformer):
    """Gives every block a mask of its own making, or tells it to look back alone."""

    how: dict = {}

    def forward_features(self, x, attn_mask=None, is_causal=False):
        x = self._pos_embed(self.patch_embed(x))
        for block in self.blocks:
            x = block(x, **self.how)
        return self.norm(x)


@pytest.mark.parametrize("depth", [1, 2])
def test_what_else_a_block_is_given_is_not_lost(depth: int) -> None:
    torch.manual_seed(0)
    size = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "num_heads": 3, "num_classes": 4}
    model, images = Masked(depth=depth, **size).eval(), torch.randn(3, 3, 16, 16)
    family_of(model).rewrite(model)
    for how, pieces in (({"is_causal": True}, depth + 2), ({"attn_mask": torch.eye(5).bool()}, 1)):
        model.how = how
        found = segments(model, [f"blocks.{index}" for index in range(depth)], Batch((images[:1],)))
        assert len(found) == pieces
        with torch.no_grad():
            assert torch.equal(run(found, model, images), model(images))
