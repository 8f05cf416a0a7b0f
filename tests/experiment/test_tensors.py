"""A model's tensors as they really are, one quantizer tried on one of them, one layer quantized alone."""

from __future__ import annotations

import pytest
import torch

import vitq_core as vq
from vitq_core.experiment import tensors as module
from vitq_core.experiment.tensors import attempt, errors_alone, tensors_of


@pytest.fixture
def images():
    return torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def seen(tiny_model, images):
    return tensors_of(tiny_model, images)


def test_they_are_what_the_model_has(tiny_model, images, seen) -> None:
    vit = tiny_model.module
    with torch.no_grad():
        embedded = vit.norm_pre(vit._pos_embed(vit.patch_embed(images[:4])))
        expected = vit.blocks[0].norm1(embedded)
    site = seen.sites["blocks.0.attn.qkv:input"]
    assert site.role == "post_layernorm"
    assert torch.allclose(seen.values(site), expected, atol=1e-5)
    weight = seen.sites["head:weight"]
    assert torch.equal(seen.values(weight), vit.head.weight)
    assert set(seen.inputs) == {site for site in seen.sites.values() if site.tensor != "weight"}
    assert seen.bytes == sum(4 * seen.values(site).numel() for site in seen.inputs)


def test_large_tensors_are_kept_of_fewer_pictures(tiny_model, images, monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST", 100)
    seen = tensors_of(tiny_model, images)
    assert all(values.numel() <= 100 or len(values) == 1 for values in seen.inputs.values())
    assert {len(values) for values in seen.inputs.values()} > {1}


@pytest.mark.parametrize("recipe", ["minmax", "crl", "adfq", "vitq"])
def test_a_quantizer_is_tried_on_every_tensor(seen, recipe) -> None:
    for site in seen.sites.values():
        for bits in (3, 8):
            tried = attempt(seen, site, vq.recipe(recipe), bits)
            lost = (tried.values - tried.simulated).square().sum() / tried.values.square().sum()
            assert tried.error == pytest.approx(float(lost), rel=1e-5)
            assert 0 <= tried.error < 1 and tried.effective_bits >= bits
            assert torch.equal(tried.levels, tried.levels.sort().values)
            assert torch.equal(tried.simulated, tried.quantizer.decode(tried.quantizer.encode(tried.values)))


def test_options_change_what_is_kept(seen) -> None:
    site = seen.sites["blocks.0.attn.qkv:input"]
    few, many = (attempt(seen, site, vq.recipe("adfq", alpha=alpha), 4) for alpha in (2.5, 0.5))
    assert 0 <= few.kept < many.kept < 1
    assert many.kept == pytest.approx(float((many.values.abs() > 0.5).float().mean()))
    assert many.effective_bits > few.effective_bits


def test_scales_are_clipped_and_the_weights_behind_take_what_is_cut_off(seen) -> None:
    """Against the formula of arXiv 2401.11243, written out."""
    site = seen.sites["blocks.0.mlp.fc1:input"]
    x, weight = seen.values(site), seen.values(seen.sites["blocks.0.mlp.fc1:weight"])
    recipe = vq.recipe("crl", 4, 4, clip_k=0.5)
    tried = attempt(seen, site, recipe, 4)
    plain = module.make_quantizer(recipe, site, 4).fit(x)
    scale, zero = plain.scale.flatten(), plain.zero_point.flatten()
    mean, deviation = scale.mean(), scale.std(correction=0)
    clipped = scale.clamp(mean - 0.5 * deviation, mean + 0.5 * deviation)
    assert tried.clip_k == 0.5 and not torch.equal(clipped, scale)
    assert torch.allclose(tried.quantizer.scale.flatten(), clipped)
    low, high = (zero.mean() + sign * 0.5 * zero.std(correction=0) for sign in (-1, 1))
    shift = scale * (zero - zero.clamp(low, high))
    assert torch.allclose(tried.values, (x + shift) * clipped / scale, atol=1e-5)
    rescaled = weight * scale / clipped
    simulated = module.make_quantizer(recipe, seen.sites["blocks.0.mlp.fc1:weight"]).fit(rescaled)(rescaled)
    found, expected = tried.simulated @ simulated.T - shift @ weight.T, x @ weight.T
    lost = float((found - expected).square().sum() / expected.square().sum())
    assert tried.output_error == pytest.approx(lost, rel=1e-4)


def test_without_a_k_the_best_candidate_is_taken_and_elsewhere_there_is_none(seen) -> None:
    site = seen.sites["blocks.0.attn.qkv:input"]
    each = {
        k: attempt(seen, site, vq.recipe("crl", 4, 4, clip_k=k), 4) for k in module.ClipOptions().candidates
    }
    best = attempt(seen, site, vq.recipe("crl", 4, 4), 4)
    assert best.output_error == min(tried.output_error for tried in each.values())
    assert each[best.clip_k].output_error == best.output_error
    others = [
        (site, "minmax"),
        (seen.sites["head:input"], "crl"),
        (seen.sites["blocks.0.mlp.fc2:input"], "crl"),
    ]
    for other, recipe in others:
        tried = attempt(seen, other, vq.recipe(recipe, 4, 4), 4)
        assert (tried.clip_k, tried.output_error) == (None, None)


def test_a_layer_alone_is_quantized_and_everything_is_as_before(tiny_model, images) -> None:
    heard = []
    before = {name: value.clone() for name, value in tiny_model.module.state_dict().items()}
    errors = errors_alone(
        tiny_model, images, vq.recipe("minmax", 3, 3), lambda done, said: heard.append(done)
    )
    seen = tensors_of(tiny_model, images)
    assert list(errors) == list(seen.prepared.layers) and all(error > 0 for error in errors.values())
    assert heard == sorted(heard) and heard[-1] == 1.0
    assert all(torch.equal(value, before[name]) for name, value in tiny_model.module.state_dict().items())
    head, recipe = tiny_model.module.head, vq.recipe("minmax", 3, 3)
    sites = seen.prepared.layers["head"].sites
    with torch.no_grad():
        x = tiny_model.module.forward_head(tiny_model.module.forward_features(images), pre_logits=True)
        by_tensor = {site.tensor: module.make_quantizer(recipe, site) for site in sites}
        weight = by_tensor["weight"].fit(head.weight)(head.weight)
        logits, expected = (
            torch.nn.functional.linear(by_tensor["input"].fit(x)(x), weight, head.bias),
            head(x),
        )
    by_hand = float((logits - expected).square().sum() / expected.square().sum())
    assert errors["head"] == pytest.approx(by_hand, rel=1e-3)
    with pytest.raises(vq.Cancelled):
        errors_alone(tiny_model, images, recipe, cancel=lambda: True)
