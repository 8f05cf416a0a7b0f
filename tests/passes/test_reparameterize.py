"""Reparameterization changes no float output, and follows the formulas of RepQ-ViT and CRL."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.passes import reparameterize
from vitq_core.quantizers import Uniform

METHODS = [("repq", {}), ("crl", {}), ("crl", {"clip_k": 0.5}), ("crl", {"collapse": True})]


@pytest.mark.parametrize(("recipe", "options"), METHODS)
def test_float_logits_stay(variant, pictures, recipe: str, options: dict) -> None:
    images = pictures(variant, 4)
    result = vq.quantize(variant, images, vq.recipe(recipe, **options))
    result.model.vitq.detach()
    with torch.no_grad():
        expected = variant(images)
        difference = (result.model(images) - expected).abs().max() / expected.abs().max()
    assert difference < 1e-4


def naive(
    norm: nn.LayerNorm, linear: nn.Linear, s: Tensor, z: Tensor, s_new: Tensor, z_new: Tensor
) -> list[Tensor]:
    """methods.md section 3 in float64: (γ̃, β̃, W̃, b̃)."""
    gamma, beta, weight, bias = (p.detach().double() for p in (*norm.parameters(), *linear.parameters()))
    s, z, s_new, z_new = (v.double() for v in (s, z, s_new, z_new))
    r1, r2 = s / s_new, z - z_new
    return [gamma / r1, (beta + s * r2) / r1, weight @ torch.diag(r1), bias - weight @ (s * r2)]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """(pair, norm, linear, current quantizer, chosen one) of every pair, from before it was rescaled."""
    calls = []
    apply = reparameterize._apply

    def note(run, pair, target) -> None:
        simulation = run.simulation
        site = simulation.layers[pair.linears[0]].inputs[0]
        linear = nn.Linear(1, 1)
        layer = simulation.layer(pair.linears[0])
        linear.weight = nn.Parameter(simulation.float_weight(pair.linears[0]).clone())
        linear.bias = nn.Parameter(layer.bias.clone())
        norm, current = deepcopy(simulation.layer(pair.norm)), deepcopy(simulation.quantizer(site))
        calls.append((pair, norm, linear, current, deepcopy(target)))
        apply(run, pair, target)

    monkeypatch.setattr(reparameterize, "_apply", note)
    return calls


@pytest.mark.parametrize(("recipe", "options"), METHODS)
def test_agrees_with_the_formulas(model, images, watched: list, recipe: str, options: dict) -> None:
    result = vq.quantize(model, images, vq.recipe(recipe, **options))
    simulation = result.model.vitq
    assert [call[0].norm for call in watched] == [f"blocks.{i}.norm{j}" for i in (0, 1) for j in (1, 2)]
    for pair, norm, linear, current, target in watched:
        s, z = current.scale.flatten(), current.zero_point.flatten()
        s_new, z_new = (v.flatten().expand(16) for v in (target.scale, target.zero_point))
        name = pair.linears[0]
        new_norm, layer = simulation.layer(pair.norm), simulation.layer(name)
        actual = [new_norm.weight, new_norm.bias, simulation.float_weight(name), layer.bias]
        for ours, theirs in zip(actual, naive(norm, linear, s, z, s_new, z_new), strict=True):
            torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-5)
        assert s.std() > 0.01 * s.mean(), "the channels must differ, or nothing is tested"


def test_repq_takes_the_means(model, images, watched: list) -> None:
    vq.quantize(model, images, "repq")
    for _, _, _, current, target in watched:
        torch.testing.assert_close(target.scale, current.scale.mean())
        torch.testing.assert_close(target.zero_point, current.zero_point.mean())


@pytest.mark.parametrize("k", [0.3, 1.0, 2.0])
def test_crl_clips_at_k_deviations(model, images, watched: list, k: float) -> None:
    result = vq.quantize(model, images, vq.recipe("crl", clip_k=k))
    for pair, _, _, current, target in watched:
        for name in ("scale", "zero_point"):
            values = getattr(current, name).flatten().double()
            mean = values.sum() / len(values)
            deviation = ((values - mean).square().sum() / len(values)).sqrt()
            expected = torch.stack([min(max(v, mean - k * deviation), mean + k * deviation) for v in values])
            torch.testing.assert_close(
                getattr(target, name).flatten().double(), expected, rtol=1e-5, atol=1e-5
            )
        kept = result.model.get_submodule(pair.linears[0]).input_quantizers[0]
        assert kept.scale.numel() == 16, "the activation stays quantized per channel"


def test_collapse_leaves_one_scale(model, images, watched: list) -> None:
    result = vq.quantize(model, images, vq.recipe("crl", clip_k=1.0, collapse=True))
    for pair, *_, target in watched:
        assert target.scale.numel() == 1
        assert result.model.get_submodule(pair.linears[0]).input_quantizers[0].scale.numel() == 1


def test_crl_picks_the_k_with_the_least_output_error(model, images, watched: list, monkeypatch) -> None:
    errors: dict[int, dict[float, float]] = {}
    measure, clipped = reparameterize._output_error, reparameterize._clipped
    ks: dict[int, float] = {}

    def note_k(current: Uniform, k: float, collapse: bool) -> Uniform:
        target = clipped(current, k, collapse)
        ks[id(target)] = k
        note_k.kept.append(target)  # so that no id is used twice
        return target

    note_k.kept = []

    def note_error(simulation, site, target, tokens) -> float:
        error = measure(simulation, site, target, tokens)
        errors.setdefault(str(site), {})[ks[id(target)]] = error
        assert tokens.values.shape[1] == 16 and 1 < len(tokens.values) <= 512
        return error

    monkeypatch.setattr(reparameterize, "_clipped", note_k)
    monkeypatch.setattr(reparameterize, "_output_error", note_error)
    vq.quantize(model, images, "crl")
    assert len(errors) == len(watched) == 4
    for (pair, *_, current, target), (site, found) in zip(watched, errors.items(), strict=True):
        assert site == f"{pair.linears[0]}:input"
        assert set(found) == set(reparameterize.CLIP_CANDIDATES)
        best = clipped(current, min(found, key=found.get), False)
        assert torch.equal(target.scale, best.scale)


def test_output_error_is_the_one_of_the_layer(model, images, watched: list, monkeypatch) -> None:
    """Against a naive twin: float layer on the tokens, rescaled quantized layer on the rescaled tokens."""
    seen = []
    measure = reparameterize._output_error

    def compare(simulation, site, target, tokens) -> float:
        error = measure(simulation, site, target, tokens)
        current, weight = simulation.quantizer(site), simulation.float_weight(site.module)
        divisor = current.scale.flatten() / target.scale.flatten()
        shift = current.scale.flatten() * (current.zero_point - target.zero_point).flatten()
        # methods.md says tokens are the norm's output: y → (y + s·r2)/r1, W → W·r1, b → b − W(s·r2)
        quantized = Uniform(weight_bits, axis=0).fit(weight * divisor)(weight * divisor)
        rows = tokens.values
        output = target(((rows + shift) / divisor)[None])[0] @ quantized.T - weight @ shift
        seen.append((error, float((output - rows @ weight.T).square().mean())))
        return error

    weight_bits = 4
    monkeypatch.setattr(reparameterize, "_output_error", compare)
    vq.quantize(model, images, "crl")
    assert seen
    for error, expected in seen:
        assert error == pytest.approx(expected, rel=1e-2)


@pytest.mark.filterwarnings("error::UserWarning")
def test_nothing_is_warned_about(model, images) -> None:
    vq.quantize(model, images, "crl")


def test_weights_are_fitted_again(model, images) -> None:
    simulation = vq.quantize(model, images, "repq").model.vitq
    for layer in simulation.layers.values():
        if layer.weight is not None:
            weight = simulation.float_weight(layer.name)
            again = deepcopy(simulation.quantizer(layer.weight)).fit(weight)
            assert torch.equal(again(weight), simulation.layer(layer.name).weight)
