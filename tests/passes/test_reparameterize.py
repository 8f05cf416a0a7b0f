"""Reparameterization changes no float output, and follows the formulas of RepQ-ViT and CRL."""

from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

import vitq_core as vq
from tests.conftest import VARIANTS
from tests.pairs import in_turn
from vitq_core.models.outliers import spread_channels
from vitq_core.passes import reparameterize
from vitq_core.quantizers import Uniform

GRID = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)  # what the search tries, as its documentation says
METHODS = [("repq", {}), ("crl", {}), ("crl", {"clip_k": 0.5}), ("crl", {"collapse": True})]


@pytest.mark.parametrize(("variant", "method"), in_turn(VARIANTS, METHODS), indirect=["variant"], ids=str)
def test_float_logits_stay(variant, pictures, method: tuple[str, dict]) -> None:
    (recipe, options), images = method, pictures(variant, 4)
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


def naive_clip(values: Tensor, k: float) -> Tensor:
    """Value by value, in float64."""
    values = values.flatten().double()
    mean = values.sum() / len(values)
    deviation = ((values - mean).square().sum() / len(values)).sqrt()
    return torch.stack([min(max(v, mean - k * deviation), mean + k * deviation) for v in values])


@pytest.mark.parametrize("k", [0.3, 1.0, 2.0])
def test_crl_clips_at_k_deviations(model, images, watched: list, k: float) -> None:
    result = vq.quantize(model, images, vq.recipe("crl", clip_k=k))
    for pair, _, _, current, target in watched:
        for name in ("scale", "zero_point"):
            expected = naive_clip(getattr(current, name), k)
            torch.testing.assert_close(
                getattr(target, name).flatten().double(), expected, rtol=1e-5, atol=1e-5
            )
        kept = result.model.get_submodule(pair.linears[0]).input_quantizers[0]
        assert kept.scale.numel() == 16, "the activation stays quantized per channel"
        assert kept.settings()["axis"] == -1, "and a file says so"


def test_collapse_leaves_one_scale(model, images, watched: list) -> None:
    result = vq.quantize(model, images, vq.recipe("crl", clip_k=1.0, collapse=True))
    for pair, *_, target in watched:
        assert target.scale.numel() == 1
        assert result.model.get_submodule(pair.linears[0]).input_quantizers[0].scale.numel() == 1


def test_crl_picks_the_k_with_the_least_output_error(model, images, watched: list, monkeypatch) -> None:
    errors: dict[int, dict[float, float]] = {}
    measure, clipped = reparameterize._output_error, reparameterize.clipped
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

    monkeypatch.setattr(reparameterize, "clipped", note_k)
    monkeypatch.setattr(reparameterize, "_output_error", note_error)
    vq.quantize(model, images, "crl")
    assert len(errors) == len(watched) == 4
    for (pair, *_, current, target), (site, found) in zip(watched, errors.items(), strict=True):
        assert site == f"{pair.linears[0]}:input"
        assert tuple(sorted(found)) == GRID
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


def naive_error(linear: nn.Linear, current: Uniform, tokens: Tensor, k: float) -> float:
    """Of the layer's output at 4 bits, were its input clipped at ``k``: methods.md in float64."""
    s, z = (values.flatten().double() for values in (current.scale, current.zero_point))
    s_new, z_new = naive_clip(s, k), naive_clip(z, k)
    r1, shift = s / s_new, s * (z - z_new)
    tokens, weight = tokens.double(), linear.weight.detach().double()
    x = (tokens + shift) / r1
    codes = torch.minimum(torch.maximum((x / s_new).round(), -z_new), 15 - z_new)
    rescaled = (weight @ torch.diag(r1)).float()
    simulated = Uniform(4, axis=0).fit(rescaled)(rescaled).double()
    output = (codes * s_new) @ simulated.T - weight @ shift
    return float((output - tokens @ weight.T).square().mean())


def outlying(model: nn.Module, factor: float) -> nn.Module:
    """With one channel that stands out, so that every k up to √15 clips."""
    with torch.no_grad():
        for index, block in enumerate(model.blocks):
            block.norm1.weight[3] *= factor
            block.norm2.weight[5 + index] *= factor
    return model


def test_each_candidate_wins_where_a_naive_search_says_so(tiny, pictures, watched, monkeypatch) -> None:
    rows: list[Tensor] = []
    measure = reparameterize._output_error

    def note(simulation, site, target, tokens) -> float:
        rows.append(tokens.values)
        return measure(simulation, site, target, tokens)

    monkeypatch.setattr(reparameterize, "_output_error", note)
    for seed, factor in ((8, 1), (20, 20), (22, 4)):
        model = outlying(tiny(seed, depth=2), factor)
        vq.quantize(model, pictures(model), "crl")
    winners = set()
    for (_, _, linear, current, target), tokens in zip(watched, rows[:: len(GRID)], strict=True):
        errors = {k: naive_error(linear, current, tokens, k) for k in GRID}
        least, next_best = sorted(errors, key=errors.get)[:2]
        for name in ("scale", "zero_point"):
            actual, expected = getattr(target, name).flatten(), naive_clip(getattr(current, name), least)
            torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5)
        if errors[next_best] > 1.04 * errors[least]:
            winners.add(least)
    assert tuple(sorted(winners)) == GRID, "each by more than rounding"


@pytest.mark.parametrize("collapse", [False, True])
@pytest.mark.parametrize("k", GRID)
def test_whichever_candidate_has_the_least_error_is_taken(
    tiny, pictures, watched, monkeypatch, k: float, collapse: bool
) -> None:
    """Errors that are made up: how far a candidate is from the one that shall win."""

    def scale_at(current: Uniform, k: float) -> Tensor:
        clipped = naive_clip(current.scale, k)
        return clipped.mean() if collapse else clipped

    def distance(simulation, site, target, tokens) -> float:
        return float((target.scale.flatten() - scale_at(simulation.quantizer(site), k)).abs().sum())

    monkeypatch.setattr(reparameterize, "_output_error", distance)
    model = outlying(tiny(depth=2), 20)
    vq.quantize(model, pictures(model), vq.recipe("crl", collapse=collapse))
    assert len(watched) == 4
    for *_, current, target in watched:
        scales = [scale_at(current, each) for each in (*GRID, 4.0)]
        assert all((a - b).abs().max() > 1e-3 * a.max() for a, b in pairwise(scales)), "they must differ"
        expected = scales[GRID.index(k)].expand(target.scale.numel())
        torch.testing.assert_close(target.scale.flatten().double(), expected, rtol=1e-5, atol=1e-6)


def test_a_form_offers_the_candidates_and_the_search() -> None:
    assert reparameterize.CLIP_CHOICES == {"0": 0.0, "0.5": 0.5, "1": 1.0, "1.5": 1.5, "2": 2.0, "3": 3.0}


def test_a_k_that_is_given_costs_no_search(model, images, watched: list, monkeypatch) -> None:
    measured: list[Tensor] = []
    monkeypatch.setattr(reparameterize, "_output_error", lambda *site: measured.append(site) or 0.0)
    vq.quantize(model, images, vq.recipe("crl", clip_k=2.0))
    assert len(watched) == 4 and measured == []


def test_a_negative_width_is_none() -> None:
    with pytest.raises(ValueError, match=r"^clip_k must be a number of at least 0, got -0.5"):
        vq.recipe("crl", clip_k=-0.5)


def test_a_width_of_0_is_the_mean_of_repq(model, images) -> None:
    """The same outputs: one scale and one zero point for all channels."""
    mean, clipped = (
        vq.quantize(model, images, recipe).model for recipe in ("repq", vq.recipe("crl", clip_k=0.0))
    )
    torch.testing.assert_close(clipped(images), mean(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("recipe", ["repq", "crl"])
def test_layers_behind_one_norm_need_one_width(tiny, pictures, recipe: str) -> None:
    model = tiny(**VARIANTS["swiglu"])
    images, gate, value = pictures(model), "blocks.0.mlp.fc1_g", "blocks.0.mlp.fc1_x"
    same = {gate: (3, 6), value: (8, 6)}
    result = vq.quantize(model, images, vq.recipe(recipe, bits=same))
    assert {name: result.bits[name] for name in same} == same
    sentence = f"{gate} and {value} read the same tensor: recipe '{recipe}' needs the same activation bits"
    with pytest.raises(ValueError, match=sentence):
        vq.quantize(model, images, vq.recipe(recipe, bits={**same, value: (8, 5)}))


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


JUDGED = replace(vq.recipe("crl"), passes=("calibrate", "reparameterize_judged"))


@pytest.mark.parametrize("gain", [0.1, 0.24, 0.26, 0.9])
def test_a_norm_is_rescaled_where_that_takes_a_quarter_off_the_error(
    model, images, watched: list, monkeypatch, gain: float
) -> None:
    seen = []

    def made_up(simulation, site, target, tokens) -> float:
        seen.append(target)
        as_it_is = target is simulation.quantizer(site)
        return 1.0 if as_it_is else 1.0 - gain / (1 + abs(len(seen) % 7 - 3))

    monkeypatch.setattr(reparameterize, "_output_error", made_up)
    vq.quantize(model, images, JUDGED)
    rescaled = gain > reparameterize.LEAST_GAIN
    assert len(watched) == (4 if rescaled else 0)
    for (*_, target), best in zip(watched, seen[2::7], strict=False):
        assert torch.equal(target.scale, best.scale)


def test_only_spread_that_the_weights_bear_is_moved_into_them(tiny, pictures, watched: list) -> None:
    plain, spread = tiny(8, depth=2), tiny(8, depth=2)
    spread_channels(spread)
    images = pictures(plain)
    as_it_is = replace(JUDGED, passes=("calibrate",))
    assert torch.equal(*(vq.quantize(plain, images, recipe).model(images) for recipe in (JUDGED, as_it_is)))
    assert not watched
    with torch.no_grad():
        expected = spread(images)
    errors = [
        float((vq.quantize(spread, images, recipe).model(images) - expected).norm())
        for recipe in (JUDGED, as_it_is)
    ]
    assert len(watched) == 4
    assert errors[0] < 0.8 * errors[1]


@pytest.mark.parametrize("gate_bits", [4, 6])
def test_readers_of_other_bits_keep_their_norm_as_it_is(
    tiny, pictures, watched: list, gate_bits: int
) -> None:
    """Only together could they be rescaled."""
    model = tiny(8, gated=True)
    spread_channels(model)
    bits = {"blocks.0.attn.qkv": (None, 4), "blocks.0.attn.gate": (None, gate_bits)}
    vq.quantize(model, pictures(model), replace(JUDGED, bits=bits))
    rescaled = [pair.norm for pair, *_ in watched]
    assert ("blocks.0.norm1" in rescaled) == (gate_bits == 4)
    assert "blocks.0.norm2" in rescaled
