"""Rewriting names every operation and changes no output; sites and pairs say what the blocks really do."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from timm.models.resnet import resnet18
from timm.models.vision_transformer import (
    DiffParallelScalingBlock,
    ParallelScalingBlock,
    ParallelThingsBlock,
    ResPostBlock,
    VisionTransformer,
)
from torch import Tensor, nn

import vitq_core as vq
from tests.conftest import VARIANTS
from tests.pairs import all_pairs, in_turn
from vitq_core.common.errors import VitqError
from vitq_core.graph import family_of
from vitq_core.graph.site import WEIGHT


def rewritten(model: nn.Module) -> nn.Module:
    copy = deepcopy(model)
    family_of(copy).rewrite(copy)
    return copy


def assert_same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


def set_fused(model: nn.Module, fused: bool) -> None:
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused


@pytest.mark.parametrize(
    ("variant", "fused"), in_turn(VARIANTS, [True, False]), indirect=["variant"], ids=str
)
def test_rewriting_keeps_outputs_and_names(variant: VisionTransformer, pictures, fused: bool) -> None:
    set_fused(variant, fused)
    copy, x = rewritten(variant), pictures(variant)
    with torch.no_grad():
        assert_same(copy(x), variant(x))
    assert_same(copy(x), variant(x))  # with gradients the scores are scaled out of place
    assert copy.state_dict().keys() == variant.state_dict().keys()


def test_no_block_or_attention_of_timm_is_left(mixture: VisionTransformer) -> None:
    blocks = rewritten(mixture).blocks
    assert not [m for m in blocks.modules() if hasattr(m, "fused_attn")]
    assert {type(block).__name__[:8] for block in blocks} == {"Explicit"}


def test_rewriting_twice_is_rewriting_once(mixture: VisionTransformer) -> None:
    copy = rewritten(mixture)
    before = [id(module) for module in copy.modules()]
    family_of(copy).rewrite(copy)
    assert [id(module) for module in copy.modules()] == before


def test_gradients_are_the_same(mixture: VisionTransformer, pictures) -> None:
    copy, x = rewritten(mixture), pictures(mixture, 2)
    for module in (mixture, copy):
        module(x).square().sum().backward()
    theirs = dict(mixture.named_parameters())
    for name, parameter in copy.named_parameters():
        if theirs[name].grad is not None:
            torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "options", "fused"),
    all_pairs(
        ["boolean", "additive", "causal"],
        [{}, {"block_fn": ResPostBlock}, {"block_fn": ParallelThingsBlock}],
        [True, False],
    ),
)
def test_masks_reach_the_attention(tiny, kind: str, options: dict, fused: bool) -> None:
    model = tiny(**options)
    set_fused(model, fused)
    block, copy = model.blocks[0], rewritten(model).blocks[0]
    x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(3))
    allowed = torch.ones(5, 5, dtype=torch.bool).tril(1)
    masks = {
        "boolean": {"attn_mask": allowed},
        "additive": {"attn_mask": torch.zeros(5, 5).masked_fill(~allowed, -3.0)},
        "causal": {"is_causal": True},
    }
    with torch.no_grad():
        assert_same(copy(x, **masks[kind]), block(x, **masks[kind]))
        assert not torch.allclose(copy(x, **masks[kind]), copy(x), atol=1e-3), "the mask must matter"


def test_dropout_of_a_model_in_training_draws_the_same_numbers(tiny, pictures) -> None:
    model = tiny(depth=2, attn_drop_rate=0.3, proj_drop_rate=0.2, drop_path_rate=0.4, pos_drop_rate=0.1)
    set_fused(model, False)
    copy, x = rewritten(model.train()), pictures(model)
    outputs = []
    for module in (model, copy):
        torch.manual_seed(4)
        outputs.append(module(x))
    assert all(module.training for module in copy.modules())
    assert_same(*outputs)
    assert not torch.allclose(outputs[0], model(x)), "the dropout must matter"


def test_sites_of_a_plain_model_are_the_papers(tiny) -> None:
    copy = rewritten(tiny())
    found = [(str(site), site.role) for site in family_of(copy).sites(copy)]
    assert found == [
        ("patch_embed.proj:input", "image"),
        ("patch_embed.proj:weight", "weight"),
        ("blocks.0.attn.qkv:input", "post_layernorm"),
        ("blocks.0.attn.qkv:weight", "weight"),
        ("blocks.0.attn.matmul1:input", "query"),
        ("blocks.0.attn.matmul1:input2", "key"),
        ("blocks.0.attn.matmul2:input", "post_softmax"),
        ("blocks.0.attn.matmul2:input2", "value"),
        ("blocks.0.attn.proj:input", "attention_output"),
        ("blocks.0.attn.proj:weight", "weight"),
        ("blocks.0.mlp.fc1:input", "post_layernorm"),
        ("blocks.0.mlp.fc1:weight", "weight"),
        ("blocks.0.mlp.fc2:input", "post_gelu"),
        ("blocks.0.mlp.fc2:weight", "weight"),
        ("head:input", "features"),
        ("head:weight", "weight"),
    ]


def test_every_product_of_the_blocks_is_a_site(mixture: VisionTransformer) -> None:
    copy = rewritten(mixture)
    sites = family_of(copy).sites(copy)
    assert len(set(sites)) == len(sites)
    linears = {f"blocks.{name}" for name, m in copy.blocks.named_modules() if isinstance(m, nn.Linear)}
    weights = {site.module for site in sites if site.tensor == WEIGHT}
    assert linears == {name for name in weights if name.startswith("blocks.")}
    assert weights - linears <= {"patch_embed.proj", "head", "head_dist"}


def test_a_post_softmax_site_gets_a_distribution(mixture: VisionTransformer, pictures) -> None:
    """Roles are claims about values: softmax rows sum to 1, a GELU is never below −0.2."""
    copy = rewritten(mixture)
    seen = {}
    for site in family_of(copy).sites(copy):
        if site.role in ("post_softmax", "post_gelu"):
            layer = copy.get_submodule(site.module)
            layer.register_forward_pre_hook(lambda m, x, role=site.role: seen.update({role: x[0]}))
    with torch.no_grad():
        copy(pictures(mixture))
    torch.testing.assert_close(seen["post_softmax"].sum(-1), torch.ones_like(seen["post_softmax"][..., 0]))
    if "post_gelu" in seen:
        assert -0.2 < seen["post_gelu"].min() < 0


def test_pairs_name_every_reader_of_a_norm(mixture: VisionTransformer, pictures) -> None:
    """Watch the forward: whoever gets a norm's output is one of its readers, and the other way round."""
    copy = rewritten(mixture)
    pairs = family_of(copy).pairs(copy)
    made, read = {}, {}
    for name, module in copy.named_modules():
        if isinstance(module, nn.LayerNorm):
            module.register_forward_hook(lambda m, x, y, name=name: made.update({name: y}))
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(lambda m, x, name=name: read.update({name: x[0]}))
    with torch.no_grad():
        copy(pictures(mixture, 2))
    for pair in pairs:
        readers = {name for name, x in read.items() if x is made[pair.norm]}
        assert readers == set(pair.linears)
    plain = {
        n for n, m in copy.blocks.named_modules() if isinstance(m, nn.LayerNorm) and m.weight is not None
    }
    inside = {pair.norm.removeprefix("blocks.") for pair in pairs}
    assert inside <= plain


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"block_fn": DiffParallelScalingBlock}, "DiffParallelScalingBlock"),
        ({"attn_layer": "diff"}, "DiffAttention"),
    ],
)
def test_unknown_parts_are_named(tiny, options: dict, word: str) -> None:
    model = tiny(**options)
    with pytest.raises(VitqError, match=rf"class {word} of blocks.0 is not one the ViT family knows"):
        family_of(model).rewrite(model)


def test_one_last_layer_for_attention_and_mlp_is_refused(tiny) -> None:
    """It would read two kinds of numbers by one scale."""
    model = tiny(block_fn=partial(ParallelScalingBlock, fuse_out_proj=True))
    with pytest.raises(VitqError, match="one output layer for attention and MLP is not known"):
        family_of(model).rewrite(model)


def test_an_unknown_mlp_is_named(tiny) -> None:
    model = tiny()
    model.blocks[0].mlp = nn.Sequential(nn.Linear(16, 16))
    family_of(model).rewrite(model)
    with pytest.raises(VitqError, match=r"MLP class Sequential of blocks.0.mlp"):
        family_of(model).sites(model)


def test_other_models_are_of_no_family() -> None:
    with pytest.raises(VitqError, match=r"no model family knows ResNet; known: .*vit"):
        family_of(resnet18(num_classes=2))


def test_picture_sizes(tiny) -> None:
    sizes = {
        (3, 16, 16): tiny(),
        (1, 16, 24): tiny(img_size=(16, 24), in_chans=1),
        None: tiny(dynamic_img_size=True),
    }
    for size, model in sizes.items():
        assert family_of(model).input_size(model) == size


def test_a_bias_beside_a_layer_leaves_what_the_layer_gave(tiny, pictures) -> None:
    """Others keep it, to judge the layer by."""
    copy = rewritten(tiny(block_fn=ParallelScalingBlock, qkv_bias=False, qk_norm=True))
    layer, kept = copy.blocks[0].in_proj, []
    layer.register_forward_hook(lambda module, inputs, output: kept.extend((inputs[0], output)))
    with torch.no_grad():
        copy(pictures(copy, 2))
        torch.testing.assert_close(kept[1], kept[0] @ layer.weight.T)


def test_a_bias_beside_a_layer_takes_no_relevance(tiny, pictures) -> None:
    model = tiny(block_fn=ParallelScalingBlock, qkv_bias=False, qk_norm=True)
    identity, add = (vq.relevance(model, pictures(model, 2), biases=rule) for rule in ("identity", "add"))
    torch.testing.assert_close(add.pixel_maps, identity.pixel_maps)
