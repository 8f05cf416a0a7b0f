"""What bits will cost before anything is quantized: the budget policy's own numbers, any table judged."""

from __future__ import annotations

import pytest
import torch

import vitq_core as vq
from vitq_core.allocation import Budget
from vitq_core.allocation.budget import budget_policy


@pytest.fixture(scope="module")
def model():
    return vq.load_model("demo-vit")


@pytest.fixture(scope="module")
def images():
    return torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def scores(model, images):
    return vq.importance(model, images, "sqnr")


@pytest.fixture(scope="module")
def forecast(model, images, scores):
    return vq.forecast_bits(scores, model, images)


def uniform(forecast, bits: int) -> dict:
    layers = forecast.prepared.layers.items()
    return {name: (None if layer.weight is None else bits, bits) for name, layer in layers}


@pytest.mark.parametrize(
    "limits", [{"size_mb": 1.6}, {"avg_weight_bits": 3.5, "avg_act_bits": 5}, {"gbops": 4}]
)
def test_a_budget_gives_the_table_that_allocate_bits_gives(model, images, scores, forecast, limits) -> None:
    table = forecast.within(Budget(**limits))
    assert table == vq.allocate_bits(scores, model, "budget", images=images, **limits)
    cost = forecast.cost(table)
    for name, limit in limits.items():
        assert cost[name] <= limit * (1 + 1e-9)


def test_harm_falls_with_bits_and_a_budgets_table_harms_least(forecast) -> None:
    harms = [forecast.harm(uniform(forecast, bits)) for bits in range(2, 9)]
    assert harms == sorted(harms, reverse=True) and harms[-1] > 0
    cost = forecast.cost(uniform(forecast, 4))
    within = forecast.within(Budget(avg_weight_bits=cost.avg_weight_bits, avg_act_bits=cost.avg_act_bits))
    assert forecast.harm(within) <= harms[2]
    by_hand = sum(
        forecast.omega[name] * sum(float(part[4].mean()) for part in forecast.errors[name].parts)
        for name in forecast.prepared.layers
    )
    assert forecast.harm(uniform(forecast, 4)) == pytest.approx(by_hand)


def test_the_size_is_the_files(model, images, forecast) -> None:
    table = uniform(forecast, 4)
    result = vq.quantize(model, images, vq.recipe("crl", 4, 4, table))
    cost = forecast.cost(table)
    assert cost.size_mb == pytest.approx(result.report.size_mb, rel=0.02)
    assert cost.size_mb >= result.report.size_mb
    assert cost.gbops == pytest.approx(result.report.gbops)


def test_pinned_layers_keep_their_bits(forecast) -> None:
    pinned = {"blocks.0.attn.qkv": (8, 8), "blocks.3.mlp.fc2": (2, 3)}
    table = forecast.within(Budget(avg_weight_bits=4, avg_act_bits=4), pinned)
    assert all(table[name] == bits for name, bits in pinned.items())
    cost = forecast.cost(table)
    assert cost.avg_weight_bits <= 4 and cost.avg_act_bits <= 4
    free = forecast.within(Budget(avg_weight_bits=4, avg_act_bits=4))
    assert forecast.harm(free) <= forecast.harm(table)


def test_what_pins_make_impossible_is_a_sentence(forecast) -> None:
    everything = uniform(forecast, 8)
    with pytest.raises(ValueError, match="everywhere but in the pinned layers this model comes to 8"):
        forecast.within(Budget(avg_weight_bits=4), everything)
    with pytest.raises(ValueError, match="there is no layer 'nose' to pin"):
        forecast.within(Budget(avg_weight_bits=4), {"nose": (4, 4)})
    with pytest.raises(ValueError, match="the model does not have: 'nose'"):
        forecast.harm({**everything, "nose": (4, 4)})


def test_layers_that_read_one_tensor_are_pinned_together(forecast) -> None:
    first, second = "blocks.0.attn.qkv", "blocks.0.mlp.fc1"

    def table(pinned: dict) -> dict:
        given = forecast.omega, forecast.errors, forecast.prepared.layers
        limits = Budget(avg_weight_bits=4, avg_act_bits=4)
        return budget_policy(*given, limits, shared=[(first, second)], pinned=pinned)

    assert table({first: (4, 7)})[second][1] == 7
    with pytest.raises(ValueError, match=f"{first} and {second} read one tensor, .* not 7 and 6"):
        table({first: (4, 7), second: (4, 6)})
