"""Loss curves of bounded length, the share of the work done, the estimate of the time left."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vitq_core as vq
from vitq_core.common.monitor import Monitor
from vitq_core.graph.site import Unit
from vitq_core.recipes.schedule import Schedule
from vitq_core.reconstruction import progress as module
from vitq_core.reconstruction.progress import POINTS, Clock, Curve, Reporter, UnitProgress, spoken


@settings(max_examples=60)
@given(iterations=st.integers(1, 400), share=st.floats(0, 1))
def test_a_curve_is_the_means_of_equally_many_iterations(iterations: int, share: float) -> None:
    losses = [float((7 * index) % 31) for index in range(round(share * iterations))]
    curve = Curve(iterations)
    for loss in losses:
        curve.add(loss)
    each = -(-iterations // POINTS)
    parts = [losses[start : start + each] for start in range(0, len(losses), each)]
    assert curve.points == pytest.approx([sum(part) / len(part) for part in parts])
    assert len(curve.points) <= POINTS and curve.seen == len(losses)


@pytest.fixture
def now(monkeypatch) -> list[float]:
    """The time, settable."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def clock(now) -> Clock:
    """Of three units that cost 10, 30 and 5."""
    return Clock([10, 30, 5])


def test_the_share_of_work_goes_from_0_to_1(clock: Clock) -> None:
    shares = [clock.fraction(index, i / 4) for index in range(3) for i in range(4)] + [clock.fraction(3)]
    assert shares[0] == 0.0 and shares[-1] == pytest.approx(1.0)
    assert all(a < b for a, b in pairwise(shares))
    assert clock.fraction(1) == pytest.approx(10 / 45)
    assert clock.fraction(1, 0.5) == pytest.approx(25 / 45)


def test_the_time_left_is_at_the_pace_so_far(clock: Clock, now: list[float]) -> None:
    now[0] += 8.0
    assert clock.left(0, 0.4) == pytest.approx(8.0 * 41 / 4)
    assert clock.left(3) == pytest.approx(0.0)


def test_a_unit_taken_over_says_nothing_about_the_pace(clock: Clock, now: list[float]) -> None:
    now[0] += 1.0  # to read it
    clock.skip(0)
    now[0] += 6.0
    assert clock.left(1, 0.2) == pytest.approx(6.0 * 29 / 6)


@pytest.fixture
def told() -> list[UnitProgress]:
    return []


@pytest.fixture
def reporter(model, images, now, told) -> Reporter:
    """Of an attention with 32 iterations and a head with 8."""
    simulation = vq.quantize(model, images, "minmax").model.vitq
    attention, head = Schedule(iterations=32), Schedule(iterations=8)
    plan = [(Unit("blocks.0.attn"), attention), (Unit("head"), head)]
    return Reporter(simulation, plan, 6, Monitor(), told.append)


def test_it_is_told_four_times_a_second_at_most(reporter: Reporter, now, told) -> None:
    curve = Curve(32)
    for iteration in range(32):
        now[0] += 1 / 16
        reporter.step(0, 0.5, curve, iteration, 1.0)
    assert [progress.iteration for progress in told] == list(range(1, 33, 4))
    assert {(p.index, p.total, p.iterations, p.row.unit) for p in told} == {(0, 2, 32, "blocks.0.attn")}


def test_shares_and_estimates_weigh_units_by_their_macs(model, images, now, told) -> None:
    """A picture counts 4 forward passes for being put through a unit, and 5 in every iteration."""
    simulation = vq.quantize(model, images, "minmax").model.vitq
    schedules = Schedule(iterations=4, batch_size=2), Schedule(iterations=8, batch_size=3)
    plan = list(zip((Unit("blocks.0.attn"), Unit("head")), schedules, strict=True))
    heard: list[tuple[float, str]] = []
    reporter = Reporter(simulation, plan, 6, Monitor(lambda *call: heard.append(call)), told.append)
    tokens, width, classes = 5, 16, 5
    attention = tokens * width * 3 * width + 2 * tokens * tokens * width + tokens * width * width
    first, second = attention * (4 * 6 + 5 * 4 * 2), width * classes * (4 * 6 + 5 * 8 * 3)
    reporter.begin(1)
    assert heard == [(pytest.approx(first / (first + second)), "Fine-tuning head")]
    now[0] += 1.0
    reporter.step(0, 0.5, Curve(4), 1, 1.0)
    done = attention * (4 * 6 + 5 * 2 * 2)
    assert heard[-1][0] == pytest.approx(done / (first + second))
    assert told[-1].seconds_left == pytest.approx((first + second - done) / done)
    assert heard[-1][1].endswith("2 of 4, about 1 s left")


def test_whoever_cancels_is_heard_at_every_step(model, images) -> None:
    simulation = vq.quantize(model, images, "minmax").model.vitq
    plan = [(Unit("head"), Schedule(iterations=8))]
    reporter = Reporter(simulation, plan, 6, Monitor(cancel=lambda: True), None)
    with pytest.raises(vq.Cancelled):
        reporter.step(0, 0.5, Curve(8), 0, 1.0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "1 s"),
        (0.4, "1 s"),
        (40.2, "40 s"),
        (89, "89 s"),
        (90, "2 min"),
        (200, "3 min"),
        (5300, "88 min"),
        (5400, "1 h 30 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_times_are_spoken(seconds: float, words: str) -> None:
    assert spoken(seconds) == words
