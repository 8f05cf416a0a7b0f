"""The rewritten Swin computes the same; its sites, pairs and units are those of the papers."""

from copy import deepcopy

import pytest
import timm
import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from vitq_core.common.batch import Batch
from vitq_core.common.errors import VitqError
from vitq_core.graph import FAMILIES, family_of
from vitq_core.graph.heads import centre_heads, rotate_heads
from vitq_core.graph.prepared import prepare
from vitq_core.graph.rescaling import rescale_linear, rescale_norm
from vitq_core.graph.segments import segments
from vitq_core.graph.site import WEIGHT

from ...swin import TINY, VARIANTS, distance, pictures, tiny_swin, traits, variant

FAMILY = FAMILIES["swin"]


def rewritten(model: nn.Module, pad_first: bool = False) -> nn.Module:
    if pad_first:
        copy = FAMILY.build({**FAMILY.config(model), "pad_first": True})
        copy.load_state_dict(model.state_dict(), strict=False)
        return copy
    copy = deepcopy(model)
    FAMILY.rewrite(copy)
    return copy


def answered(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images)


def set_fused(model: nn.Module, fused: bool) -> None:
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_rewriting_keeps_outputs_and_names(name: str, fused: bool) -> None:
    model, images = variant(name)
    set_fused(model, fused)
    copy = rewritten(model)
    assert distance(answered(copy, images), answered(model, images)) < 1e-5
    own = {name for name in copy.state_dict() if not name.endswith("norm1.padding")}
    assert own == set(model.state_dict())
    assert family_of(copy) is FAMILY
    before = [id(module) for module in copy.modules()]
    FAMILY.rewrite(copy)
    assert [id(module) for module in copy.modules()] == before


def test_variants_are_what_they_are_called() -> None:
    assert traits("plain") == {"shifted"} == traits("windows that are not square")
    assert traits("sides that nothing divides") == {"shifted", "filled up", "odd"}
    assert traits("any size") == traits("always in windows") == {"shifted", "filled up", "odd"}
    assert "odd" in traits("odd sides to merge") and "filled up" in traits("any size, always in windows")


def test_rolled_as_a_whole_it_is_the_same_where_windows_divide_the_map() -> None:
    for name, same in (("plain", True), ("sides that nothing divides", False)):
        model, images = variant(name)
        difference = distance(answered(rewritten(model, pad_first=True), images), answered(model, images))
        assert (difference < 1e-5) is same, name


def test_gradients_are_the_same() -> None:
    model, images = variant("sides that nothing divides")
    copy = rewritten(model)
    for module in (model, copy):
        module(images).square().sum().backward()
    theirs = dict(model.named_parameters())
    for name, parameter in copy.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-3, atol=1e-4)


def test_dropout_of_a_model_in_training_draws_the_same_numbers() -> None:
    model = tiny_swin(attn_drop_rate=0.3, proj_drop_rate=0.2, drop_path_rate=0.4, drop_rate=0.1).train()
    copy, images, outputs = rewritten(model), pictures(model), []
    for module in (model, copy):
        torch.manual_seed(4)
        outputs.append(module(images).detach())
    assert all(module.training for module in copy.modules())
    assert distance(*outputs) < 1e-5
    assert not torch.allclose(outputs[0], model(images)), "the dropout must matter"


@pytest.mark.parametrize("name", VARIANTS)
def test_it_is_built_from_its_description(name: str) -> None:
    model, images = variant(name)
    copy = rewritten(model)
    assert FAMILY.config(model) == FAMILY.config(copy)
    again = FAMILY.build(FAMILY.config(copy))
    again.load_state_dict(copy.state_dict())
    assert torch.equal(answered(again, images), answered(copy, images))
    assert FAMILY.config(again) == FAMILY.config(copy)


def test_a_head_of_known_parts_is_described_and_its_layers_are_sites() -> None:
    model = tiny_swin()
    model.head.fc = nn.Sequential(nn.Linear(24, 8), nn.GELU(), nn.Linear(8, 3))
    copy = rewritten(model)
    again = FAMILY.build(FAMILY.config(copy))
    again.load_state_dict(copy.state_dict())
    assert torch.equal(answered(again, pictures(model)), answered(copy, pictures(model)))
    assert again.num_classes == 3
    found = {site.module for site in FAMILY.sites(copy)}
    assert {"head.fc.0", "head.fc.2"} <= found


def test_an_altered_model_cannot_be_described() -> None:
    model = tiny_swin()
    model.layers[1].blocks[0].mlp.fc1 = nn.Linear(24, 40)
    model.layers[1].blocks[0].mlp.fc2 = nn.Linear(40, 24)
    model.layers[1].blocks[1].mlp.fc2.bias = None
    with pytest.raises(VitqError, match="altered after it was built"):
        FAMILY.config(model)


def test_sites_of_a_plain_model_are_the_papers() -> None:
    copy = rewritten(tiny_swin(depths=(1, 1)))
    block = [
        ("attn.qkv:input", "post_layernorm"),
        ("attn.qkv:weight", "weight"),
        ("attn.matmul1:input", "query"),
        ("attn.matmul1:input2", "key"),
        ("attn.matmul2:input", "post_softmax"),
        ("attn.matmul2:input2", "value"),
        ("attn.proj:input", "attention_output"),
        ("attn.proj:weight", "weight"),
        ("mlp.fc1:input", "post_layernorm"),
        ("mlp.fc1:weight", "weight"),
        ("mlp.fc2:input", "post_gelu"),
        ("mlp.fc2:weight", "weight"),
    ]
    assert [(str(site), site.role) for site in FAMILY.sites(copy)] == [
        ("patch_embed.proj:input", "image"),
        ("patch_embed.proj:weight", "weight"),
        *((f"layers.0.blocks.0.{name}", role) for name, role in block),
        ("layers.1.downsample.reduction:input", "post_layernorm"),
        ("layers.1.downsample.reduction:weight", "weight"),
        *((f"layers.1.blocks.0.{name}", role) for name, role in block),
        ("head.fc:input", "features"),
        ("head.fc:weight", "weight"),
    ]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_product_is_a_site(name: str) -> None:
    copy = rewritten(variant(name)[0])
    sites = FAMILY.sites(copy)
    kinds = (nn.Linear, nn.Conv2d)
    weighted = {name for name, part in copy.named_modules() if isinstance(part, kinds)}
    products = {name for name, part in copy.named_modules() if type(part).__name__ == "MatMul"}
    assert {site.module for site in sites if site.tensor == WEIGHT} == weighted
    assert {site.module for site in sites if site.tensor == "input2"} == products
    assert len(set(sites)) == len(sites)


@pytest.mark.parametrize("name", VARIANTS)
def test_pairs_name_every_reader_of_a_norm(name: str) -> None:
    """Watch the forward: whoever gets a norm's numbers, in any order and filled up, is its reader."""
    model, images = variant(name)
    copy = rewritten(model)
    made, read = {}, {}
    for part_name, part in copy.named_modules():
        if isinstance(part, nn.LayerNorm):
            part.register_forward_hook(lambda m, x, y, n=part_name: made.update({n: y.detach()}))
        if isinstance(part, nn.Linear):
            part.register_forward_pre_hook(lambda m, x, n=part_name: read.update({n: x[0].detach()}))
    answered(copy, images)

    def rows(x: Tensor) -> set[tuple]:
        return {tuple(row) for row in x.flatten(0, -2).tolist()}

    pairs = FAMILY.pairs(copy)
    for pair in pairs:
        given = rows(made[pair.norm])
        readers = {n for n, x in read.items() if x.shape[-1] == len(next(iter(given))) and given <= rows(x)}
        assert readers == set(pair.linears)
    blocks, merges = len(FAMILY.blocks(copy)), len(copy.layers) - 1
    assert len(pairs) == (0 if name == "rms norm" else 2 * blocks + merges)


@pytest.mark.parametrize("name", ["plain", "sides that nothing divides", "any size, always in windows"])
def test_rescaled_norms_leave_the_answers_alone_though_windows_are_filled_up(name: str) -> None:
    """What stands for missing patches must be rescaled with the others."""
    model, images = variant(name)
    copy = rewritten(model)
    generator = torch.Generator().manual_seed(3)
    for pair in FAMILY.pairs(copy):
        norm = copy.get_submodule(pair.norm)
        divisor = torch.rand(norm.weight.shape, generator=generator) + 0.5
        shift = torch.randn(norm.weight.shape, generator=generator)
        with torch.no_grad():
            rescale_norm(norm, divisor, shift)
            for reader in pair.linears:
                layer = copy.get_submodule(reader)
                rescale_linear(layer, layer.weight, divisor, shift)
    assert distance(answered(copy, images), answered(model, images)) < 1e-4
    reduction = copy.get_submodule("layers.1.downsample.reduction")
    assert reduction.bias is not None and reduction.bias.abs().max() > 0


def test_units_hold_every_layer_once_and_take_pictures() -> None:
    """A unit's input and output have one row for each picture, also in windows."""
    model, images = variant("sides that nothing divides")
    copy = rewritten(model)
    units = FAMILY.units(copy)
    for site in FAMILY.sites(copy):
        assert sum(unit.holds(site.module) for unit in units) == 1, site
    lengths: dict[str, list[int]] = {}
    watched = [unit.name for unit in units] + [s for unit in units for s in unit.softmaxes]
    for name in watched:
        copy.get_submodule(name).register_forward_hook(
            lambda _, x, y, n=name: lengths.update({n: [len(x[0]), len(y)]})
        )
    answered(copy, images)
    assert lengths == {key: [2, 2] for key in watched}
    assert sum(len(unit.softmaxes) for unit in units) == len(FAMILY.blocks(copy)) == 4


def test_queries_are_scaled_before_they_are_multiplied_and_masked_positions_are_zero() -> None:
    model, images = variant("plain")
    copy, seen = rewritten(model), {}
    attention = copy.layers[0].blocks[1].attn
    attention.qkv.register_forward_hook(lambda _, x, y: seen.update(qkv=y))
    attention.matmul1.register_forward_pre_hook(lambda _, x: seen.update(query=x[0].clone()))
    attention.matmul2.register_forward_pre_hook(lambda _, x: seen.update(shares=x[0].clone()))
    answered(copy, images)
    queries = seen["qkv"].flatten(0, 1)[..., :12].unflatten(-1, (2, 6)).transpose(1, 2)
    torch.testing.assert_close(seen["query"], queries * 6**-0.5)
    torch.testing.assert_close(seen["shares"].sum(-1), torch.ones(2 * 4, 2, 16))
    blocked = seen["shares"].unflatten(0, (2, 4))[:, -1] < 1e-30  # as near 0 as −100 brings it
    assert blocked.float().mean() == 0.75, "four corners of the map in one window"


def test_multiply_accumulates_are_counted_by_hand() -> None:
    """Of 8 × 8 patches in four windows of 16, then 4 × 4 in one."""
    layers = prepare(tiny_swin(), "quantize").layers
    expected = {
        "patch_embed.proj": 64 * 12 * 12,
        "layers.0.blocks.0.attn.qkv": 64 * 12 * 36,
        "layers.0.blocks.0.attn.matmul1": 4 * 2 * 16 * 16 * 6,
        "layers.0.blocks.1.attn.matmul2": 4 * 2 * 16 * 16 * 6,
        "layers.0.blocks.1.mlp.fc1": 64 * 12 * 24,
        "layers.1.downsample.reduction": 16 * 48 * 24,
        "layers.1.blocks.0.attn.matmul1": 4 * 16 * 16 * 6,
        "layers.1.blocks.0.attn.proj": 16 * 24 * 24,
        "head.fc": 24 * 5,
    }
    assert {name: layers[name].macs for name in expected} == expected
    assert layers["layers.1.downsample.reduction"].params == 48 * 24


def test_what_fills_windows_up_is_multiplied_too() -> None:
    """A map of 9 × 13 is one of 12 × 16 in windows of 4."""
    layers = prepare(variant("sides that nothing divides")[0], "quantize").layers
    assert layers["layers.0.blocks.0.attn.qkv"].macs == 12 * 16 * 12 * 36
    assert layers["layers.0.blocks.0.mlp.fc1"].macs == 9 * 13 * 12 * 24


def test_picture_sizes() -> None:
    assert FAMILY.input_size(tiny_swin()) == (3, 16, 16)
    assert FAMILY.input_size(tiny_swin(img_size=(18, 26), in_chans=1)) == (1, 18, 26)
    assert FAMILY.input_size(tiny_swin(strict_img_size=False)) is None


class Other(nn.Identity):
    """Of no known kind."""


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("layers.0.blocks.1", "class Other of layers.0.blocks.1 is not one the Swin family knows"),
        ("layers.1.downsample", "class Other of layers.1.downsample is not one the Swin family knows"),
        ("layers.1.blocks.0.attn", "class Other of layers.1.blocks.0.attn is not one the Swin family knows"),
    ],
)
def test_unknown_parts_are_named(where: str, sentence: str) -> None:
    model = tiny_swin()
    model.set_submodule(where, Other())
    with pytest.raises(VitqError, match=sentence):
        FAMILY.rewrite(model)


def test_an_unknown_mlp_is_named() -> None:
    model = tiny_swin()
    model.layers[0].blocks[0].mlp = nn.Sequential(nn.Linear(12, 12))
    FAMILY.rewrite(model)
    with pytest.raises(VitqError, match=r"MLP class Sequential of layers.0.blocks.0.mlp is not one the Swin"):
        FAMILY.sites(model)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("swinv2_cr_tiny_224", "SwinTransformerV2Cr"), ("swinv2_tiny_window8_256", "SwinTransformerV2")],
)
def test_the_second_version_is_refused_by_name(name: str, kind: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name, embed_dim=12, depths=(1, 1), num_heads=(1, 2))
    with pytest.raises(VitqError, match=f"^{kind} is a Swin V2, which is not known here.*SwinTransformer"):
        family_of(model)


def test_timms_own_sizes_are_of_the_family() -> None:
    with torch.device("meta"):
        model = timm.create_model("swin_tiny_patch4_window7_224")
    assert isinstance(model, SwinTransformer) and FAMILY.matches(model)
    FAMILY.rewrite(model)
    assert len(FAMILY.blocks(model)) == 12 and len(FAMILY.sites(model)) == 2 + 12 * 12 + 3 * 2 + 2
    assert TINY["window_size"] == 4


@pytest.mark.parametrize("step", ["centred", "rotated"])
@pytest.mark.parametrize("name", VARIANTS)
def test_centred_and_rotated_heads_answer_as_before(name: str, step: str) -> None:
    """Position biases and masks are added to the scores, which stay, or move alike for all keys."""
    model, images = variant(name)
    copy, changed = rewritten(model), rewritten(model).requires_grad_(False)
    if step == "rotated":
        rotate_heads(changed, FAMILY)
    else:
        centre_heads(changed, FAMILY, [Batch((images,))])
    assert distance(answered(changed, images), answered(copy, images)) < 1e-4
    attentions = [f"{block}.attn" for block in FAMILY.blocks(copy)]
    moved = [(part, copy.get_submodule(part), changed.get_submodule(part)) for part in attentions]
    what = "bias" if step == "centred" else "weight"
    if name == "no qkv bias" and step == "centred":
        assert all(torch.equal(old.proj.bias, new.proj.bias) for _, old, new in moved)
    else:
        assert all(not torch.allclose(getattr(o.qkv, what), getattr(n.qkv, what)) for _, o, n in moved)


@pytest.mark.parametrize("name", VARIANTS)
def test_blocks_run_one_after_the_other_though_maps_are_merged_between_them(name: str) -> None:
    model, images = variant(name)
    copy, batch = rewritten(model).requires_grad_(False), Batch((images,))
    found = segments(copy, FAMILY.blocks(copy), batch[:1])
    assert len(found) == len(FAMILY.blocks(copy)) + 2
    stream = None
    with torch.no_grad():
        for segment in found:
            stream = segment.run(copy, batch, stream)
    assert torch.equal(stream, answered(copy, images))
