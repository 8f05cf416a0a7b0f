"""What a table of bits costs, without quantizing: as the report of the quantized model has it."""

import random

import pytest
import torch

import vitq_core as vq
from vitq_core.graph.prepared import prepare


def random_table(model: torch.nn.Module, images: torch.Tensor, seed: int) -> dict:
    """Any bits for every layer, the same where one norm is read."""
    dice, prepared = random.Random(seed), prepare(model, "table_cost", images[:1])
    table = {
        name: (None if layer.weight is None else dice.randint(2, 8), dice.randint(2, 8))
        for name, layer in prepared.layers.items()
    }
    for first, *others in prepared.shared:
        table |= {name: (table[name][0], table[first][1]) for name in others}
    return table


@pytest.fixture
def table(model, images) -> dict:
    return random_table(model, images, seed=0) | {"head": (5, 5)}


@pytest.mark.parametrize("recipe", ["percentile", "minmax", "crl", "repq", "lrp"])
def test_is_the_report_of_the_quantized_model(tiny, pictures, recipe: str) -> None:
    """Sizes on a model wide enough that scales do not weigh as much as weights."""
    model = tiny(depth=2, embed_dim=64, num_heads=4)
    images = pictures(model, 4)
    table = random_table(model, images, seed=len(recipe))
    report = vq.quantize(model, images, vq.recipe(recipe, bits=table)).report
    cost = vq.table_cost(table, model)
    for name in ("avg_weight_bits", "avg_act_bits", "gbops"):
        assert cost[name] == pytest.approx(report[name], rel=1e-12)
    assert cost.size_mb == pytest.approx(report.size_mb, rel=0.03)


def test_of_every_kind_of_model(mixture, pictures) -> None:
    images = pictures(mixture, 2)
    table = random_table(mixture, images, seed=3)
    report = vq.quantize(mixture, images, vq.recipe("minmax", bits=table)).report
    cost = vq.table_cost(table, mixture, images)
    for name in ("avg_weight_bits", "avg_act_bits", "gbops"):
        assert cost[name] == pytest.approx(report[name], rel=1e-12)
    assert cost.size_mb == pytest.approx(report.size_mb, rel=0.1)  # tiny: scales weigh


def test_by_hand(tiny) -> None:
    """Four pictures' patches of 8×8 in 3 colours and a class token: 5 tokens of 16 channels, 2 heads."""
    model = tiny()
    table = {
        "patch_embed.proj": (2, 8),
        "blocks.0.attn.qkv": (3, 4),
        "blocks.0.attn.matmul1": (None, 5),
        "blocks.0.attn.matmul2": (None, 6),
        "blocks.0.attn.proj": (7, 2),
        "blocks.0.mlp.fc1": (8, 3),
        "blocks.0.mlp.fc2": (5, 4),
        "head": (6, 7),
    }
    params = [3072, 768, 0, 0, 256, 512, 512, 80]
    macs = [4 * 3072, 5 * 768, 2 * 25 * 8, 2 * 25 * 8, 5 * 256, 5 * 512, 5 * 512, 80]
    inputs = [1, 1, 2, 2, 1, 1, 1, 1]
    rows = list(zip(table.values(), params, macs, inputs, strict=True))
    cost = vq.table_cost(table, model)
    weights = sum(w * p for (w, _), p, _, _ in rows if w)
    assert cost.avg_weight_bits == pytest.approx(weights / sum(params))
    acts = sum(a * m * k for (_, a), _, m, k in rows)
    assert cost.avg_act_bits == pytest.approx(acts / sum(m * k for _, _, m, k in rows))
    assert cost.gbops == pytest.approx(sum(m * a * (w or a) for (w, a), _, m, _ in rows) / 1e9)
    kept = 4 * sum(
        p.numel() for n, p in model.named_parameters() if p.ndim == 1 or "token" in n or "pos" in n
    )
    scales = 16 + 48 + 16 + 32 + 16 + 5 + 16 + 16 + 2 + 2 + 4  # rows, normalized channels, other inputs
    assert cost.size_mb == pytest.approx((weights / 8 + kept + 5 * scales) / 1e6)


def test_fewer_bits_cost_less(model, table) -> None:
    table = {name: (weight and max(weight, 3), max(act, 3)) for name, (weight, act) in table.items()}
    whole = vq.table_cost(table, model)
    for name, (weight, act) in list(table.items())[:5]:
        less = vq.table_cost({**table, name: (weight and weight - 1, act)}, model)
        assert (less.size_mb < whole.size_mb) == (weight is not None)
        assert less.avg_act_bits == whole.avg_act_bits
        less = vq.table_cost({**table, name: (weight, act - 1)}, model)
        assert less.avg_act_bits < whole.avg_act_bits and less.gbops < whole.gbops
        assert (less.size_mb, less.avg_weight_bits) == (whole.size_mb, whole.avg_weight_bits)


def test_models_results_and_tables_in_any_order_are_taken(model, images, table) -> None:
    cost = vq.table_cost(table, model)
    assert vq.table_cost(dict(reversed(table.items())), vq.wrap_model(model)) == cost
    assert vq.table_cost({name: list(pair) for name, pair in table.items()}, model) == cost
    assert dict(cost).keys() == {"avg_weight_bits", "avg_act_bits", "size_mb", "gbops"}


def test_a_model_of_any_size_asks_for_pictures(tiny, table) -> None:
    model = tiny(depth=2, dynamic_img_size=True)
    with pytest.raises(ValueError, match="pictures of any size: give images"):
        vq.table_cost(table, model)
    small, large = (vq.table_cost(table, model, torch.zeros(1, 3, n, n)) for n in (16, 32))
    assert small.gbops < large.gbops and small.size_mb == large.size_mb


BAD = {
    "missing": (
        lambda t: {k: v for k, v in t.items() if k != "head"},
        r"lacks 1 of the model's 14 layers, .* 'head'",
    ),
    "empty": (lambda t: {}, "lacks 14 of the model's 14 layers, first 'patch_embed.proj'"),
    "unknown": (lambda t: {**t, "tail": (4, 4)}, "names a layer that the model does not have: 'tail'"),
    "9 bits": (
        lambda t: {**t, "head": (9, 4)},
        "weight bits of 'head' must be a whole number from 2 to 8, got 9",
    ),
    "1 bit": (lambda t: {**t, "head": (4, 1)}, "activation bits of 'head' must be a whole number .* got 1"),
    "half": (
        lambda t: {**t, "head": (4, 4.5)},
        "activation bits of 'head' must be a whole number .* got 4.5",
    ),
    "true": (lambda t: {**t, "head": (True, 4)}, "weight bits of 'head' must be a whole number .* got True"),
    "no weight": (lambda t: {**t, "head": (None, 4)}, "weight bits of 'head' must be .* got None"),
    "no input": (lambda t: {**t, "head": (4, None)}, "activation bits of 'head' must be .* got None"),
    "one number": (lambda t: {**t, "head": 4}, "'head'"),
    "one of two": (lambda t: {**t, "head": (4,)}, "'head'"),
    "three": (lambda t: {**t, "head": (4, 4, 4)}, "'head'"),
    "no table": (lambda t: None, "table"),
    "a list": (lambda t: list(t), "table"),
}


@pytest.mark.parametrize(("make", "sentence"), BAD.values(), ids=BAD)
def test_a_bad_table_is_a_sentence(model, table, make, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        vq.table_cost(make(table), model)


def test_no_model_is_a_sentence(table) -> None:
    with pytest.raises(ValueError, match=r"table_cost takes a model of load_model or an nn.Module, got str"):
        vq.table_cost(table, "demo-vit")
    with pytest.raises(vq.VitqError, match="no model family knows Linear"):
        vq.table_cost(table, torch.nn.Linear(2, 2))
