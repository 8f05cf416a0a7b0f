"""Calibration statistics: exact tails whatever the batches, in bounded memory."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.pairs import in_turn
from vitq_core import VitqError
from vitq_core.quantizers import statistics
from vitq_core.quantizers.statistics import PERCENTILES, Statistics, grouped


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def watched(x: Tensor, axes: tuple[int, ...], batches: int = 1) -> Statistics:
    found = Statistics(axes)
    for batch in x.tensor_split(batches):
        if batch.numel():
            found.update(batch, batch.numel() / x.numel())
    return found


def naive_groups(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """One row per index of ``axes``, by indexing."""
    if not axes:
        return x.flatten()[None]
    sizes = [range(x.shape[axis]) for axis in axes]
    rows = []
    for index in torch.cartesian_prod(*(torch.tensor(size) for size in sizes)).reshape(-1, len(axes)):
        where = [slice(None)] * x.ndim
        for axis, i in zip(axes, index.tolist(), strict=True):
            where[axis] = i
        rows.append(x[tuple(where)].flatten())
    return torch.stack(rows)


@pytest.mark.parametrize("axes", [(), (0,), (1,), (2,), (-1,), (1, 2), (0, 2)])
def test_groups_are_what_indexing_gives(axes: tuple[int, ...]) -> None:
    x = noise(2, 3, 4)
    assert torch.equal(grouped(x, axes), naive_groups(x, axes))


@pytest.mark.parametrize("axes", [(), (1,), (-1,), (1, 2)])
def test_parameters_broadcast_against_the_tensor(axes: tuple[int, ...]) -> None:
    x = noise(2, 3, 4)
    found = watched(x, axes)
    lowest = found.unflatten(found.range()[0])
    assert (x >= lowest).all()
    assert lowest.expand_as(x).shape == x.shape


@settings(max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40)),
    axes=st.sampled_from([(), (1,), (2,), (1, 2)]),
    batches=st.integers(1, 9),
    levels=st.sampled_from([0, 3]),
    seed=st.integers(0, 99),
)
def test_ranges_are_the_quantiles_of_the_whole_stream(shape, axes, batches, levels, seed) -> None:
    x = noise(*shape, seed=seed)
    if levels:  # many equal values
        x = x.mul(levels).round()
    found, groups = watched(x, axes, batches), naive_groups(x, axes)
    for p in PERCENTILES:
        lo, hi = found.range(p)
        torch.testing.assert_close(lo, torch.quantile(groups, 1 - p, dim=1), atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(hi, torch.quantile(groups, p, dim=1), atol=1e-6, rtol=1e-6)
    lo, hi = found.range()
    assert torch.equal(lo, groups.amin(1))
    assert torch.equal(hi, groups.amax(1))


def naive_quantile(x: Tensor, p: float) -> float:
    """In float64, of the float32 number nearest to ``p``, as the published methods asked for it."""
    values = x.double().sort().values
    position = float(torch.tensor(p)) * (len(values) - 1)
    below = int(position)
    above = min(below + 1, len(values) - 1)
    return float(values[below] + (values[above] - values[below]) * (position - below))


@pytest.mark.parametrize(
    ("size", "batches"), in_turn([1, 2, 63, 64, 65, 127, 128, 1000, 1001, 4097, 200_001], [1, 5])
)
def test_quantiles_of_long_streams(size: int, batches: int) -> None:
    x = noise(size, seed=size)
    for values in (x, x.sort().values, x.sort(descending=True).values, torch.full_like(x, 0.7)):
        found = watched(values, (), batches)
        for p in PERCENTILES:
            for q, end in zip((1 - p, p), found.range(p), strict=True):
                assert end.item() == pytest.approx(naive_quantile(values, q), abs=1e-6)
                assert end.item() == pytest.approx(torch.quantile(values, q).item(), abs=1e-5)


def test_batching_does_not_matter_at_the_tails() -> None:
    x = noise(30, 50, 8)
    once, often = watched(x, (2,)), watched(x, (2,), 30)
    for p in (*PERCENTILES, None):
        for a, b in zip(once.range(p), often.range(p), strict=True):
            assert torch.equal(a, b)
    assert torch.equal(once.sample.sort(dim=1).values, often.sample.sort(dim=1).values)


def test_memory_is_the_tails_and_a_bounded_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "SAMPLE", 1000)
    x = noise(20, 100, 30)
    for axes, per_group in (((), 60_000), ((2,), 2000)):
        found = watched(x, axes, 20)
        low, high = found._extremes.sorted()
        assert low.shape[1] == high.shape[1] <= 0.001 * per_group + 3
        assert found.sample.numel() <= 1500  # every batch rounds up


def test_the_sample_skips_no_channel_and_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "SAMPLE", 1000)
    tokens, channels = 20, 50
    place = torch.arange(float(tokens * channels)).reshape(1, tokens, channels)
    sample = watched(place.expand(20, -1, -1), ()).sample.flatten().long()
    assert sample.remainder(channels).unique().numel() == channels
    assert sample.div(channels, rounding_mode="floor").unique().numel() == tokens


@pytest.mark.parametrize("axes", [(), (0,), (1,)])
def test_the_watched_tensor_is_neither_changed_nor_held_on_to(axes: tuple[int, ...]) -> None:
    x = noise(4, 5, 6)
    before = x.clone()
    found = watched(x, axes)
    expected = [found.sample.clone(), *(end.clone() for end in found.range(0.999))]
    assert torch.equal(x, before)
    x.fill_(1e9)  # in-place quantization follows calibration
    for was, now in zip(expected, [found.sample, *found.range(0.999)], strict=True):
        assert torch.equal(was, now)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("axes", [(), (-1,)])
@pytest.mark.parametrize("place", [0, 5000, 9999])  # the last is in no whole block
@pytest.mark.parametrize("before", [False, True])
def test_values_that_are_not_finite_are_refused(axes, value: float, place: int, before: bool) -> None:
    found, x = Statistics(axes), noise(2500, 4)
    if before:
        found.update(x, 0.5)
    x.view(-1)[place] = value
    with pytest.raises(VitqError, match="not finite"):
        found.update(x, 0.5)


def test_batches_that_grow_have_quantiles_all_the_same() -> None:
    """Pictures with more prompts than the first ones: fewer extremes were kept than would be looked for."""
    statistics, streams = Statistics(()), [torch.linspace(-1, 1, size) for size in (100, 100, 90_000)]
    for x in streams:
        statistics.update(x, 1 / 3)
    low, high = statistics.range(0.999)
    assert -1 <= float(low) < -0.99 and 0.99 < float(high) <= 1
    first = Statistics(())
    for x in reversed(streams):
        first.update(x, 1 / 3)
    torch.testing.assert_close(first.range(0.999)[1], torch.cat(streams).quantile(0.999)[None])
