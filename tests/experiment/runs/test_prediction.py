"""Points that bits will cost, learned from runs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitq_core.experiment.runs.prediction import FEWEST, predicted_from

RUNS = [(0.001, 0.1), (0.01, 0.5), (0.1, 4.0), (1.0, 40.0)]


def test_it_passes_through_runs_that_rise_and_begins_at_nothing() -> None:
    found = predicted_from(RUNS[::-1])
    assert [found.points(harm) for harm, _ in RUNS] == pytest.approx([lost for _, lost in RUNS])
    assert found.points(0.0) == 0.0 and found.points(0.0005) == pytest.approx(0.05)
    assert found.points(1.1) is None and found.reaches == 1.0


def test_too_few_runs_predict_nothing() -> None:
    assert predicted_from(RUNS[: FEWEST - 1]) is None
    assert predicted_from(RUNS[:FEWEST]) is not None


def test_the_error_is_that_of_runs_that_were_not_known() -> None:
    by_hand = []
    for index, (harm, lost) in enumerate(RUNS[:-1]):  # the last one lies beyond the others
        others = [(0.0, 0.0), *RUNS[:index], *RUNS[index + 1 :]]
        by_hand.append(abs(np.interp(harm, *zip(*others, strict=True)) - lost))
    assert predicted_from(RUNS).error == pytest.approx(np.mean(by_hand))


@given(st.lists(st.tuples(st.floats(1e-6, 10), st.floats(-5, 100)), min_size=FEWEST, max_size=20))
def test_more_harm_never_loses_less(runs) -> None:
    found = predicted_from(runs)
    said = [found.points(harm) for harm in np.linspace(0, found.reaches, 50)]
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(said)) and said[0] >= 0
