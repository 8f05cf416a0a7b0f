"""Stopping runs."""

from types import SimpleNamespace

from ui.parts.jobs import Jobs


def test_cancel_stops_the_run_of_one_session_only():
    jobs = Jobs()
    mine, yours = jobs.start("me"), jobs.start("you")
    assert jobs.cancel("me")
    assert (mine(), yours()) == (True, False)
    assert not jobs.cancel("me")


def test_a_run_that_has_learned_something_concludes_once():
    jobs = Jobs()
    job = jobs.start("me")
    assert not jobs.conclude("me")
    assert not job()
    job.told(SimpleNamespace(index=0, total=2, row="row"))
    assert jobs.conclude("me")
    assert (job(), job.dropped(), jobs.running("me")) == (True, False, True)
    assert not jobs.conclude("me")
    assert jobs.cancel("me")
    assert job.dropped()


def test_a_run_cancelled_while_it_waited_finds_itself_stopped():
    jobs = Jobs()
    jobs.start("me")
    jobs.cancel("me")
    assert jobs.flag("me")()


def test_a_new_run_replaces_the_old_one_and_outlives_its_end():
    jobs = Jobs()
    old = jobs.start("me")
    new = jobs.start("me")
    jobs.finish("me", old)
    assert old()
    assert not new()
    assert jobs.running("me")
    jobs.finish("me", new)
    assert not jobs.running("me")
