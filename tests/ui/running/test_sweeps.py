"""Runs that belong to the server: in order, stopped and continued, after a restart, and one that fails."""

from __future__ import annotations

from threading import Event

import pytest

import vitq_core as vq
from ui.running import sweeps as module
from ui.running.sweeps import Sweeps
from vitq_core.experiment.runs import DONE, RUNNING, STOPPED, Plan, PlanStore

SOON = 20.0


class Maker:
    """Makes nothing, slowly where it is told."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.begun, self.go = Event(), Event()

    def __call__(self, wanted, owner, progress, job) -> None:
        progress(0.5, f"{wanted['n']} for {owner}")
        if wanted["n"] == 13:
            raise ValueError("thirteen is too many.")
        if wanted["n"] == 99:
            self.begun.set()
            while not self.go.wait(0.01):
                if job():
                    raise vq.Cancelled("stopped")
        if wanted["n"] not in self.made:
            self.made.append(wanted["n"])


@pytest.fixture
def maker():
    return Maker()


@pytest.fixture
def plans(tmp_path):
    return PlanStore(tmp_path / "runs.sqlite")


def plan(*numbers: int, owner: str = "me") -> Plan:
    return Plan("numbers", tuple({"kind": "numbers", "n": number} for number in numbers), owner)


def test_all_are_made_in_order_and_one_that_fails_is_named(maker, plans) -> None:
    sweeps = Sweeps(maker, plans)
    first, second = sweeps.start(plan(1, 13, 2)), sweeps.start(plan(3))
    assert sweeps.wait(SOON)
    assert maker.made == [1, 2, 3]
    sweep = sweeps.sweep(first)
    assert (sweep.done, sweep.ended, sweep.total, sweep.state) == (2, 3, 3, DONE)
    assert sweep.failed == [({"kind": "numbers", "n": 13}, "thirteen is too many.")]
    assert {each.id: each.state for each in plans.all()} == {first: DONE, second: DONE}
    assert sweeps.newest("me", ["numbers"]) is sweeps.sweep(second)
    assert sweeps.newest("they", ["numbers"]) is None and sweeps.newest("me", ["letters"]) is None
    assert sweeps.sweep("none") is None and sweeps.sweep(None) is None


def test_it_stops_at_once_and_goes_on_where_it_was(maker, plans) -> None:
    sweeps = Sweeps(maker, plans)
    name = sweeps.start(plan(1, 99, 2))
    assert maker.begun.wait(SOON)
    assert sweeps.sweep(name).done == 1 and sweeps.sweep(name).said == "99 for me"
    assert sweeps.stop(name) and not sweeps.stop(name)
    assert sweeps.wait(SOON) and maker.made == [1]
    assert plans.get(name).state == STOPPED
    maker.go.set()
    assert sweeps.go_on(name) and not sweeps.go_on("none")
    assert sweeps.wait(SOON) and maker.made == [1, 99, 2]
    assert plans.get(name).state == DONE and not sweeps.go_on(name)


def test_after_a_restart_what_was_under_way_goes_on(maker, plans) -> None:
    under_way, stopped = plan(4), plan(5)
    plans.add(under_way)
    plans.add(stopped)
    plans.mark(stopped.id, STOPPED)
    sweeps = Sweeps(maker, plans)
    sweeps.resume()
    assert sweeps.wait(SOON) and maker.made == [4]
    assert plans.get(stopped.id).state == STOPPED == sweeps.sweep(stopped.id).state
    assert sweeps.go_on(stopped.id) and sweeps.wait(SOON) and maker.made == [4, 5]


def test_a_damaged_file_stops_nobody_from_starting(maker, plans) -> None:
    plans.path.write_bytes(b"no database " * 400)
    sweeps = Sweeps(maker, plans)
    sweeps.resume()
    with pytest.raises(vq.StorageError):
        sweeps.start(plan(1))
    assert plans.path.exists() and RUNNING == "running"


def test_a_store_that_fails_meanwhile_stops_nobody_else(maker, plans, monkeypatch) -> None:
    """A run that is cancelled ends also where that cannot be written, and the next one is made."""
    sweeps = Sweeps(maker, plans)
    first, second = sweeps.start(plan(99)), sweeps.start(plan(1))
    assert maker.begun.wait(SOON)

    def full(*given: object) -> None:
        raise vq.StorageError("full", "full")

    monkeypatch.setattr(plans, "mark", full)
    assert sweeps.stop(first) and sweeps.wait(SOON)
    assert maker.made == [1]
    assert (sweeps.sweep(first).state, sweeps.sweep(second).state) == (STOPPED, DONE)


def test_one_run_goes_before_the_next_of_many(maker, plans) -> None:
    sweeps = Sweeps(maker, plans)
    long = sweeps.start(plan(99, 2, 3))
    assert maker.begun.wait(SOON)
    other, alone = sweeps.start(plan(4, 5)), sweeps.start(plan(1))
    assert (sweeps.before(long), sweeps.before(alone), sweeps.before(other)) == (0, 1, 2)
    maker.go.set()
    assert sweeps.wait(SOON) and maker.made[:2] == [99, 1] and sorted(maker.made) == [1, 2, 3, 4, 5, 99]


def test_how_long_one_waits_is_told_by_what_was_made(maker, plans, monkeypatch) -> None:
    sweeps, clock = Sweeps(maker, plans), [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    sweeps.start(plan(99, 1))
    assert maker.begun.wait(SOON)
    sweep, mine = sweeps.newest("me", ["numbers"]), sweeps.start(plan(2, owner="you"))
    clock[0] = 30.0
    assert sweeps.seconds_before(mine) == 30.0  # half of the run was made in as much
    sweep.share = 0.0
    assert sweeps.seconds_before(mine) is None  # nothing says how long a run takes
    sweeps._took.append(50.0)
    assert sweeps.seconds_before(mine) == 20.0
    next_one = sweeps.start(plan(3, owner="you"))
    assert sweeps.before(next_one) == 2 and sweeps.seconds_before(next_one) == 70.0
    maker.go.set()
    assert sweeps.wait(SOON) and sweeps.seconds_before(mine) == 0.0
    assert list(sweeps._took) == [50.0, 30.0]  # what was there at once says nothing


def test_what_is_long_over_is_forgotten(maker, plans, monkeypatch) -> None:
    monkeypatch.setattr("ui.running.sweeps.KEPT", 2)
    sweeps = Sweeps(maker, plans)
    names = []
    for number in range(5):
        names.append(sweeps.start(plan(number)))
        assert sweeps.wait(SOON)
    assert [sweeps.sweep(name) is not None for name in names] == [False, False, True, True, True]
    assert plans.get(names[0]).state == DONE
