"""Rewritten, a Segment Anything answers as the package's own; its sites are those of the papers."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from segment_anything.modeling.common import MLPBlock
from segment_anything.modeling.transformer import Attention

from vitq_core.common.errors import VitqError
from vitq_core.graph.rescaling import rescale_linear, rescale_norm
from vitq_core.graph.sam.family import SegmentAnything

from ...sam import TINY, golden, picture, prompts, tiny_sam

FAMILY = SegmentAnything()


@pytest.fixture(scope="module")
def sam() -> Sam:
    return tiny_sam().requires_grad_(False)


@pytest.fixture
def rewritten(sam: Sam) -> Sam:
    copy = deepcopy(sam)
    FAMILY.rewrite(copy)
    return copy


def answers(sam: Sam, image: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """{"point.multi.low_res": …} of every prompt, and the embedding."""
    predictor = SamPredictor(sam)
    predictor.set_image(picture(0) if image is None else image)
    found = {"embedding": predictor.features.numpy()}
    for name, given in prompts().items():
        for many, kind in ((True, "multi"), (False, "single")):
            _, iou, low = predictor.predict(**given, multimask_output=many)
            found |= {f"{name}.{kind}.iou": iou, f"{name}.{kind}.low_res": low}
    return found


def test_rewritten_it_answers_as_before(sam: Sam, rewritten: Sam) -> None:
    for (name, expected), actual in zip(answers(sam).items(), answers(rewritten).values(), strict=True):
        assert np.abs(actual - expected).max() < 1e-5 * np.abs(expected).max(), name


def test_it_answers_as_the_golden_numbers_say(rewritten: Sam) -> None:
    stored = golden("sam_float")
    for name, actual in answers(rewritten, stored["image"]).items():
        assert np.abs(actual - stored[name]).max() < 1e-4 * np.abs(stored[name]).max(), name


def test_rewriting_twice_changes_nothing(rewritten: Sam) -> None:
    before = {name: type(module) for name, module in rewritten.named_modules()}
    FAMILY.rewrite(rewritten)
    assert {name: type(module) for name, module in rewritten.named_modules()} == before


def test_it_is_built_from_its_description(rewritten: Sam) -> None:
    again = FAMILY.build(FAMILY.config(rewritten))
    again.load_state_dict(rewritten.state_dict())
    for name, actual in answers(again).items():
        assert np.array_equal(actual, answers(rewritten)[name]), name


def test_the_sites_are_those_of_the_papers(rewritten: Sam) -> None:
    sites = FAMILY.sites(rewritten)
    modules = {site.module for site in sites}
    assert {type(rewritten.get_submodule(name)).__name__ for name in modules} == {
        *("Linear", "Conv2d", "MatMul", "PositionedMatMul")
    }
    linears = {
        name
        for name, module in rewritten.named_modules()
        if isinstance(module, torch.nn.Linear) and ("blocks" in name or "transformer" in name)
    }
    assert linears <= modules
    # A decoder attention: three projections, four operands, one more projection.
    attention = [str(site) for site in sites if ".layers.1.cross_attn_token_to_image." in str(site)]
    assert len(attention) == 12
    roles = {site.role for site in sites if "mask_decoder" in site.module}
    assert {"post_relu", "post_softmax", "decoder_key"} <= roles
    assert "post_gelu" not in roles
    assert not any("hypernetworks" in name or "upscaling" in name for name in modules)


def test_units_hold_every_layer_once(rewritten: Sam) -> None:
    units = FAMILY.units(rewritten)
    for site in FAMILY.sites(rewritten):
        assert sum(unit.holds(site.module) for unit in units) == 1, site
    softmaxes = [name for unit in units for name in unit.softmaxes]
    assert all(type(rewritten.get_submodule(name)).__name__ == "Softmax" for name in softmaxes)
    assert len(softmaxes) == 3 + 2 * 3 + 1
    assert all(rewritten.get_submodule(name) for name in FAMILY.blocks(rewritten))


def test_rescaled_norms_leave_the_answers_alone_though_windows_are_filled_up(rewritten: Sam) -> None:
    """What stands for missing patches must be rescaled with the others."""
    expected = answers(rewritten)
    generator = torch.Generator().manual_seed(3)
    for pair in FAMILY.pairs(rewritten):
        norm = rewritten.get_submodule(pair.norm)
        divisor = 0.5 + torch.rand(norm.weight.shape, generator=generator)
        shift = torch.randn(norm.weight.shape, generator=generator)
        rescale_norm(norm, divisor, shift)
        for name in pair.linears:
            layer = rewritten.get_submodule(name)
            rescale_linear(layer, layer.weight, divisor, shift)
    for name, actual in answers(rewritten).items():
        assert np.abs(actual - expected[name]).max() < 1e-4 * np.abs(expected[name]).max(), name


def test_the_head_of_a_query_is_not_rotated_where_positions_read_it(rewritten: Sam) -> None:
    assert [heads.scores for heads in FAMILY.heads(rewritten)] == [False] * 3
    plain = tiny_sam(type(TINY)(**{**vars(TINY), "relative_positions": False}))
    FAMILY.rewrite(plain)
    assert [heads.scores for heads in FAMILY.heads(plain)] == [True] * 3


def test_parts_that_the_package_does_not_have_are_named(sam: Sam) -> None:
    class Own(Attention):
        """What a user might write."""

    own = deepcopy(sam)
    own.mask_decoder.transformer.layers[1].self_attn = Own(32, 2)
    with pytest.raises(VitqError, match=r"class Own of mask_decoder\.transformer\.layers\.1\.self_attn"):
        FAMILY.rewrite(own)
    assert isinstance(sam.image_encoder.blocks[0].mlp, MLPBlock)
