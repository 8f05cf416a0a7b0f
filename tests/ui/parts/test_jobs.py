"""Stopping runs."""

from types import SimpleNamespace

from ui.parts.jobs import Jobs


def test_abandon_ends_the_run_of_one_session_only():
    jobs = Jobs()
    mine, yours = jobs.start("me"), jobs.start("you")
    assert jobs.abandon("me")
    assert (mine(), yours()) == (True, False)
    assert not jobs.abandon("me")


def test_a_run_that_has_learned_something_finishes_once():
    jobs = Jobs()
    job = jobs.start("me")
    assert not jobs.finish("me")
    assert not job()
    job.log(SimpleNamespace(index=0, total=2, row="row"))
    assert jobs.finish("me")
    assert (job(), job.abandoned(), jobs.running("me")) == (True, False, True)
    assert not jobs.finish("me")
    assert jobs.abandon("me")
    assert job.abandoned()


def test_a_run_abandoned_while_it_waited_is_told_so():
    jobs = Jobs()
    jobs.start("me")
    jobs.abandon("me")
    assert jobs.begun("me")()


def test_a_new_run_replaces_the_old_one_and_outlives_its_end():
    jobs = Jobs()
    old = jobs.start("me")
    new = jobs.start("me")
    jobs.forget("me", old)
    assert old()
    assert not new()
    assert jobs.running("me")
    jobs.forget("me", new)
    assert not jobs.running("me")
