"""Loss curves of bounded length, the share of the work done, the estimate of the time left."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vitq_core as vq
from vitq_core.reconstruction import progress as module
from vitq_core.reconstruction.progress import POINTS, Clock, Curve, spoken
from vitq_core.site import Unit


@settings(max_examples=60, deadline=None)
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
def clock(model, images, monkeypatch) -> Clock:
    """Of three units with 10, 10 and 5 iterations; ``clock.now`` is the time."""
    simulation = vq.quantize(model, images, "minmax").model.vitq
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    units = [(Unit("blocks.0.attn"), 10), (Unit("blocks.0.mlp"), 10), (Unit("head"), 5)]
    made = Clock(simulation, units)
    made.now = now
    return made


def test_the_share_of_work_goes_from_0_to_1_as_macs_say(clock: Clock) -> None:
    shares = [clock.fraction(index, i) for index, count in enumerate((10, 10, 5)) for i in range(count)]
    shares.append(clock.fraction(3))
    assert shares[0] == 0.0 and shares[-1] == pytest.approx(1.0)
    assert all(a < b for a, b in pairwise(shares))
    tokens, width = 5, 16
    attention = tokens * width * 3 * width + 2 * tokens * tokens * width + tokens * width * width
    mlp, head = 2 * tokens * width * 2 * width, width * 5
    total = 10 * attention + 10 * mlp + 5 * head
    assert clock.fraction(1) == pytest.approx(10 * attention / total)
    assert clock.fraction(2, 3) == pytest.approx((10 * attention + 10 * mlp + 3 * head) / total)


def test_the_time_left_is_at_the_pace_so_far(clock: Clock) -> None:
    clock.now[0] += 8.0
    done = clock.fraction(0, 4)
    assert clock.left(0, 4) == pytest.approx(8.0 * (1 - done) / done)
    assert clock.left(3) == pytest.approx(0.0)


def test_a_unit_taken_over_says_nothing_about_the_pace(clock: Clock) -> None:
    clock.now[0] += 1.0  # to read it
    clock.skip(0)
    clock.now[0] += 6.0
    first, done = clock.fraction(1), clock.fraction(1, 5)
    assert clock.left(1, 5) == pytest.approx(6.0 * (1 - done) / (done - first))


def test_it_is_told_four_times_a_second_at_most(clock: Clock) -> None:
    told = 0
    for _ in range(96):
        clock.now[0] += 1 / 16
        told += clock.due()
    assert told == 24


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
