"""Heads centred and rotated: the same answers in full precision; keys and values without means, and no
channel of queries and keys that sticks out."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.graph import family_of
from vitq_core.graph.heads import centre_heads, rotate_heads, rotation


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 12, 32, 48, 64, 80, 88])
def test_the_matrix_is_orthogonal_and_spreads_every_channel(size: int) -> None:
    turn = rotation(size)
    assert torch.allclose(turn @ turn.T, torch.eye(size, dtype=turn.dtype), atol=1e-12)
    odd = size / (size & -size)
    assert turn.abs().max() <= max(1, 2 * (odd > 1)) ** 0.5 / size**0.5 + 1e-12


def rewritten(model: nn.Module) -> nn.Module:
    model = deepcopy(model).eval()
    family_of(model).rewrite(model)
    return model


def rotated(model: nn.Module) -> nn.Module:
    turned = rewritten(model)
    rotate_heads(turned, family_of(model))
    return turned


def centred(model: nn.Module, *batches: torch.Tensor) -> nn.Module:
    moved = rewritten(model)
    centre_heads(moved, family_of(model), [Batch((images,)) for images in batches])
    return moved


@pytest.mark.parametrize("step", ["rotated", "centred"])
def test_every_kind_of_model_answers_as_before(variant, pictures, step: str) -> None:
    images = pictures(variant)
    changed = rotated(variant) if step == "rotated" else centred(variant, images + 1)
    with torch.no_grad():
        wanted, given = variant(images), changed(images)
    assert torch.allclose(given, wanted, atol=1e-5 * max(1, float(wanted.abs().max())))


def test_keys_and_values_lose_their_means_where_a_bias_makes_up_for_it(mixture, pictures) -> None:
    images = pictures(mixture) + 1
    moved = centred(mixture, images[:1], images[1:])
    before, after = (outputs(module, images) for module in (rewritten(mixture), moved))
    for heads in family_of(mixture).heads(moved):
        attention = heads.qkv.removesuffix(".qkv")
        old, new = before[attention], after[attention]
        has_bias, proj = moved.get_submodule(heads.qkv).bias is not None, moved.get_submodule(heads.proj)
        keys, values = (has_bias and heads.scores, has_bias and heads.values and proj.bias is not None)
        assert torch.equal(old[0], new[0])
        for part, asked in ((1, keys), (2, values)):
            mean = old[part].mean((0, 2), keepdim=True) if asked else torch.zeros(())
            torch.testing.assert_close(new[part], old[part] - mean, atol=1e-5, rtol=1e-5)


def test_without_a_bias_nothing_is_centred(tiny, pictures) -> None:
    model = tiny(qkv_bias=False)
    moved, images = centred(model, pictures(model)), pictures(model)
    assert torch.equal(moved(images), rewritten(model)(images))


def test_how_pictures_come_in_batches_does_not_matter(model, images) -> None:
    one, two = centred(model, images), centred(model, images[:1], images[1:])
    for (name, a), b in zip(one.named_parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, msg=name)


def test_queries_keys_and_values_turn_where_nothing_looks_at_single_channels(mixture, pictures) -> None:
    before, after = (outputs(module, pictures(mixture)) for module in (rewritten(mixture), rotated(mixture)))
    for heads in family_of(mixture).heads(rewritten(mixture)):
        attention = heads.qkv.removesuffix(".qkv")
        turn = rotation(heads.size).float()
        turns = (heads.scores, heads.scores, heads.values)
        for one, other, turned in zip(before[attention], after[attention], turns, strict=True):
            assert torch.allclose(other, one @ turn.T if turned else one, atol=1e-5)
        module = mixture.get_submodule(attention)
        assert heads.scores == isinstance(module.q_norm, nn.Identity)
        gated = getattr(module, "gate", None) is not None
        assert heads.values == (isinstance(module.norm, nn.Identity) and not gated)


def outputs(module: nn.Module, images: torch.Tensor) -> dict[str, tuple[torch.Tensor, ...]]:
    """Per attention its queries, keys and values, [B, heads, tokens, size]."""
    seen = {}
    for heads in family_of(module).heads(module):

        def hook(layer, inputs, output, heads=heads):
            parts = output.unflatten(-1, (3, heads.count, heads.size))
            seen[heads.qkv.removesuffix(".qkv")] = parts.permute(2, 0, 3, 1, 4).unbind(0)

        module.get_submodule(heads.qkv).register_forward_hook(hook)
    with torch.no_grad():
        module(images)
    return seen


def test_one_loud_channel_is_heard_in_all(model, images) -> None:
    loud = rewritten(model)
    with torch.no_grad():
        for parameter in loud.blocks[0].attn.qkv.parameters():
            parameter[3] *= 50  # the fourth channel of the first head's queries

    def loudest(module: nn.Module) -> float:
        queries = outputs(module, images)["blocks.0.attn"][0][:, 0]
        return float(queries.abs().amax() / queries.square().mean().sqrt())

    assert loudest(rotated(loud)) < 0.6 * loudest(loud)


def test_the_users_model_stays_as_it_is(model, images) -> None:
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    vq.quantize(model, images, vq.recipe("vitq", 4, 4, effort="none"))
    assert type(model.blocks[0].attn).__name__ == "Attention"
    assert all(torch.equal(tensor, kept[name]) for name, tensor in model.state_dict().items())


def test_a_recipe_with_the_pass_quantizes_the_rotated_model(model, images) -> None:
    """As ``percentile`` does with a model that was rotated by hand."""
    recipe = vq.recipe("percentile", 4, 4)
    first = vq.quantize(rotated(model), images, recipe)
    second = vq.quantize(model, images, replace(recipe, passes=("rotate_heads", *recipe.passes)))
    assert torch.equal(first(images), second(images))
    assert not torch.equal(second(images), vq.quantize(model, images, recipe)(images))
