"""The ranking pass: the best scale by its own criterion, written out; biases; options that do something."""

import pytest
import torch
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.passes.search.ranking import RankingSearch
from vitq_core.passes.search.similarity import THETA, pairs, pearson, ranking_loss


@pytest.fixture
def model(tiny):
    return tiny(depth=2)


def seen(model: nn.Module, name: str, images: Tensor) -> list[Tensor]:
    """What a layer reads in full precision."""
    kept: list[Tensor] = []
    hook = model.get_submodule(name).register_forward_pre_hook(lambda part, inputs: kept.extend(inputs))
    with torch.no_grad():
        model(images)
    hook.remove()
    return [x.clone() for x in kept]


def scales(result: vq.QuantizeResult) -> list[Tensor]:
    simulation = result.model.vitq
    return [simulation.quantizer(site).scale for site in simulation.sites()]


@pytest.mark.parametrize("name", ["blocks.0.attn.qkv", "blocks.1.mlp.fc2"])
def test_no_scale_of_a_linear_layer_correlates_better(model, images, name: str) -> None:
    """Of the input, given the weight: it is searched last."""
    result = vq.quantize(model, images, vq.recipe("ranking", 4, 4, scales_tried="all"))
    part = model.get_submodule(name)
    (x,), kept = seen(model, name, images), result.model.get_submodule(name)
    with torch.no_grad():
        weight, quantizer, target = kept.weight, kept.input_quantizers[0], part(x)
        best = quantizer.scale.clone()

        def score(scale: Tensor) -> float:
            output = nn.functional.linear(quantizer.rounded(x, scale), weight, part.bias)
            return float(pearson(target, output[None]).mean())

        start = x.abs().max() / 7.5
        tried = [score(start * factor) for factor in torch.linspace(0.5, 1.2, 100)]
        assert score(best) == pytest.approx(max(tried), abs=1e-6)


@pytest.mark.parametrize("order", ["mean", "sum"])
def test_attention_scores_also_keep_their_order(model, images, order: str) -> None:
    from vitq_core.graph.prepared import prepare

    result = vq.quantize(model, images, vq.recipe("ranking", 3, 3, scales_tried="all", ranking=order))
    prepared = prepare(model, "test", images)
    q, k = seen(prepared.module, "blocks.0.attn.matmul1", images)
    of_q, of_k = result.model.blocks[0].attn.matmul1.input_quantizers
    target = q @ k

    def score(scale: Tensor) -> float:
        output = of_q(q) @ of_k.rounded(k, scale)
        lost = ranking_loss(target, output, THETA).mean(1)  # of pictures [heads] first
        lost = lost / (1 if order == "sum" else target.shape[-2] * pairs(target.shape[-1]))
        lost = lost * (target.shape[1] if order == "sum" else 1)
        return float((pearson(target, output[None])[0] - 0.1 * lost).mean())

    with torch.no_grad():
        start = k.abs().max() / 3.5
        tried = [score(start * factor) for factor in torch.linspace(0.5, 1.2, 100)]
        assert score(of_k.scale) == pytest.approx(max(tried), rel=1e-5, abs=1e-6)


def test_biases_take_the_mean_error_out(model, images) -> None:
    result = vq.quantize(model, images, vq.recipe("ranking", 3, 3))
    for name in ("blocks.0.attn.qkv", "blocks.1.mlp.fc2", "head"):
        part, kept = model.get_submodule(name), result.model.get_submodule(name)
        (x,) = seen(model, name, images)
        with torch.no_grad():
            off = (kept(x.clone()) - part(x)).flatten(0, -2).mean(0)
            before = off + part.bias - kept.bias
        assert off.abs().max() < 1e-5 < before.abs().max()


def test_a_layer_without_bias_gets_one_and_a_file_holds_it(tiny, pictures, tmp_path) -> None:
    model = tiny(qkv_bias=False)
    images = pictures(model, 4)
    result = vq.quantize(model, images, vq.recipe("ranking", 3, 3))
    assert result.model.blocks[0].attn.qkv.bias is not None and model.blocks[0].attn.qkv.bias is None
    loaded = vq.load_quantized(vq.save_quantized(result, tmp_path / "saved"))
    with torch.no_grad():
        assert torch.equal(loaded(images), result(images))


def test_options_change_scales(model, images) -> None:
    found = [
        scales(vq.quantize(model, images, vq.recipe("ranking", 3, 3, **options)))
        for options in ({}, {"ranking": "sum"}, {"search_pictures": 2})
    ]
    for other in found[1:]:
        assert not all(torch.equal(*pair) for pair in zip(found[0], other, strict=True))


def test_mixed_bits_keep_the_size_and_differ(model, images) -> None:
    result = vq.quantize(model, images, vq.recipe("ranking", 4, 4, mixed=True))
    plain = vq.quantize(model, images, vq.recipe("ranking", 4, 4))
    assert result.report.avg_weight_bits <= 4 and result.report.size_mb <= plain.report.size_mb
    for block in ("blocks.0", "blocks.1"):
        for part in ("attn", "mlp"):
            widths = {
                width
                for name, pair in result.bits.items()
                if name.startswith(f"{block}.{part}.")
                for width in pair
            }
            assert len(widths - {None}) == 1, "one width for a module's weights and inputs"
    assert len({pair for name, pair in result.bits.items() if name.startswith("blocks")} - {(None, 4)}) > 1
    with pytest.raises(ValueError, match="mixed=True would do nothing"):
        vq.quantize(model, images, vq.recipe("ranking", 4, 4, mixed=True, bits={"head": (4, 4)}))


def test_no_candidate_is_worked_out_twice(model, images, monkeypatch) -> None:
    asked: list[list[int]] = []
    best, scores = RankingSearch._best, RankingSearch._scores

    def searched(search, operand, other):
        asked.append([])
        return best(search, operand, other)

    def noted(search, operand, other, numbers):
        asked[-1].extend(numbers.tolist())
        return scores(search, operand, other, numbers)

    monkeypatch.setattr(RankingSearch, "_best", searched)
    monkeypatch.setattr(RankingSearch, "_scores", noted)
    vq.quantize(model, images, vq.recipe("ranking"))
    assert asked and all(len(set(numbers)) == len(numbers) for numbers in asked)
    assert min(map(len, asked)) <= 1 + 4 * 2 < max(map(len, asked))
