"""A run that belongs to the server, as its page has it."""

from __future__ import annotations

from threading import Event
from types import SimpleNamespace

import gradio as gr
import pytest

import vitq_core as vq
from tests.awaiting import awaited
from ui.parts.visitors import NOBODY, Visitors, new_token
from ui.running.server_run import ServerRun
from ui.running.sweeps import Sweeps
from vitq_core.experiment.runs import DONE, RUNNING, STOPPED, Plan, PlanStore

ME, YOU = (SimpleNamespace(session_hash=name) for name in ("me", "you"))
SOON, NOTHING = 20.0, [gr.skip()] * 3
WANTED = {"kind": "alone", "title": "a run"}


class Maker:
    """Makes 7, once it may."""

    def __init__(self) -> None:
        self.begun, self.go = Event(), Event()

    def __call__(self, wanted, owner, progress, job) -> int:
        progress(0.5, "halfway")
        self.begun.set()
        while not self.go.wait(0.01):
            if job():
                raise vq.Cancelled("stopped")
        if wanted.get("wrong"):
            raise ValueError("it is wrong.")
        return 7


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
def sweeps(maker, tmp_path) -> Sweeps:
    return Sweeps(maker, PlanStore(tmp_path / "runs.sqlite"))


@pytest.fixture
def run(sweeps) -> ServerRun:
    server = SimpleNamespace(visitors=Visitors(), busy=lambda: False)
    with gr.Blocks():
        return ServerRun(
            gr.Button(), gr.Button(), gr.HTML(), stopped="stopped", server=server, sweeps=sweeps,
            wanted=lambda data: {**WANTED, **data}, show=lambda sweep: {"made": sweep.made[-1]},
            kinds=("alone",),
        )  # fmt: skip


def opened_with(run_id: str, session: str) -> SimpleNamespace:
    """The request of a page whose address names a run."""
    return SimpleNamespace(session_hash=session, query_params={"run": run_id})


def ended(run: ServerRun, me=ME, data=None) -> dict:
    return awaited(run.run(data or {}, me))


def test_it_shows_what_the_server_made(run, maker, sweeps):
    maker.go.set()
    run.start_job({}, ME)
    shown = ended(run)
    assert shown["made"] == 7 and shown[run.start]["interactive"] and not run.running(ME)
    plan = sweeps.plans.get(run._id(ME))
    assert (plan.title, plan.state) == ("a run", DONE)


def test_it_goes_on_without_its_page_and_the_next_one_finds_it(run, maker, sweeps):
    assert run.find(ME) == NOTHING and awaited(run.go_on({}, ME)) == gr.skip()
    run.start_job({}, ME)
    assert maker.begun.wait(SOON)
    later = opened_with(run._id(ME), "later")
    run.leave(ME)
    assert not run.running(ME) and sweeps.newest("", run.kinds).state == RUNNING
    banner, start, stop = run.find(later)
    assert "a run" in banner and not start["interactive"] and stop["interactive"]
    assert run.find(later) == NOTHING  # it follows it already
    assert run.find(YOU) == NOTHING  # a page that asks for none
    maker.go.set()
    assert awaited(run.go_on({}, later))["made"] == 7
    again = opened_with(run._id(later), "again")
    assert run.find(again, kept="its settings") == NOTHING  # it is done: the page opened with it


def test_a_run_that_ends_while_its_page_opens_is_shown(run, maker):
    """The page had looked for a result when there was none yet."""
    maker.go.set()
    run.start_job({}, ME)
    ended(run)
    opening = opened_with(run._id(ME), "opening")
    assert run.find(opening, kept=None) != NOTHING and run.follows(opening)
    assert awaited(run.go_on({}, opening))["made"] == 7 and not run.running(opening)


def test_nobody_follows_anothers_run_nor_one_of_another_page(run, maker, sweeps, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "somebody/studio")
    mine, theirs = new_token(), new_token()
    run.server.visitors.know("me", mine)
    run.server.visitors.know("you", theirs)
    run.start_job({}, ME)
    assert maker.begun.wait(SOON)
    address = run._id(ME)
    run.start_job({}, SimpleNamespace(session_hash="tokenless"))
    nobodys = run._id(SimpleNamespace(session_hash="tokenless"))
    assert run.find(opened_with(address, "you")) == NOTHING
    assert run.find(opened_with(nobodys, "without a token")) == NOTHING
    assert sweeps.newest(NOBODY, run.kinds) is None
    sweep = sweeps.start(Plan("of the other page", ({"kind": "answers"},), mine))
    run.leave(ME)
    assert run.find(opened_with(sweep, "me")) == NOTHING
    assert run.find(opened_with(address, "me")) != NOTHING
    maker.go.set()
    assert sweeps.wait(SOON)


def test_cancel_ends_it_on_the_server(run, maker, sweeps):
    run.start_job({}, ME)
    assert maker.begun.wait(SOON)
    assert run.cancel(ME)[run.status] == "stopped"
    assert sweeps.wait(SOON) and sweeps.plans.get(run._id(ME)).state == STOPPED
    assert ended(run)[run.status] == "stopped"


def test_starting_again_ends_the_earlier_one(run, maker, sweeps):
    run.start_job({}, ME)
    assert maker.begun.wait(SOON)
    earlier = run._id(ME)
    run.start_job({}, ME)
    assert run._id(ME) != earlier and sweeps.sweep(earlier).state == STOPPED
    maker.go.set()
    assert ended(run)["made"] == 7


def test_what_cannot_be_begun_or_made_is_a_sentence(run, maker, monkeypatch):
    maker.go.set()
    run.start_job({"wrong": True}, ME)
    assert "it is wrong." in ended(run)[run.status]

    def refuse(data):
        raise ValueError("no table yet.")

    run.wanted = refuse
    run.start_job({}, ME)
    assert "no table yet." in ended(run)[run.status] and not run.running(ME)
    run.wanted = lambda data: WANTED
    monkeypatch.setattr(
        run.sweeps.plans, "add", lambda plan: (_ for _ in ()).throw(vq.StorageError("full", "full"))
    )
    run.start_job({}, ME)
    assert "full." in ended(run)[run.status]
    assert ended(run, YOU)[run.status] == "stopped"  # a program that began nothing


def test_who_waits_is_told_how_many_are_before_and_how_long(run, maker, sweeps, monkeypatch):
    sweeps.start(Plan("long", ({"kind": "x"}, {"kind": "x"}), "they"))
    assert maker.begun.wait(SOON)
    run.start_job({}, ME)
    sweep = sweeps.sweep(run._id(ME))
    monkeypatch.setattr(sweeps, "seconds_before", lambda plan_id: None)
    assert run._waiting(sweep) == "Waiting: 1 run before yours"
    monkeypatch.setattr(sweeps, "seconds_before", lambda plan_id: 62.0)
    assert run._waiting(sweep) == "Waiting: 1 run before yours, about 60 s"
    maker.go.set()
    assert ended(run)["made"] == 7 and sweeps.wait(SOON)
    assert run._waiting(sweep) == ""
