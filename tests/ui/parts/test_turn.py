"""One at a time, again while one has it, and nobody is overtaken."""

from __future__ import annotations

import time
from threading import Event, Thread

import pytest

from ui.parts.turn import Turn

SOON = 20.0


def waiting(turn: Turn, work) -> Thread:
    """A thread in line for its turn."""
    before = len(turn._line)

    def run() -> None:
        with turn:
            work()

    thread = Thread(target=run)
    thread.start()
    deadline = time.monotonic() + SOON
    while len(turn._line) == before and time.monotonic() < deadline:
        time.sleep(0.001)
    return thread


def test_whoever_has_it_may_take_it_again():
    turn = Turn()
    with turn, turn:
        pass
    ran = Event()
    with turn:
        with turn:
            thread = waiting(turn, ran.set)
        assert not ran.wait(0.05)
    thread.join(SOON)
    assert ran.is_set()


def test_it_goes_to_whoever_has_waited_longest():
    turn, order = Turn(), []
    with turn:
        threads = [waiting(turn, lambda each=each: order.append(each)) for each in range(5)]
    for thread in threads:
        thread.join(SOON)
    assert order == [0, 1, 2, 3, 4]


def test_a_thread_that_works_without_a_break_overtakes_nobody():
    """It asks again at once, while who waits has not even woken up."""
    turn, done, ends = Turn(), [], Event()

    def sweep() -> None:
        while not ends.is_set():
            with turn:
                done.append(len(turn._line))

    thread = Thread(target=sweep)
    thread.start()
    try:
        for _ in range(50):
            before = len(done)
            with turn:
                assert len(done) <= before + 1 + done[before:].count(0)
    finally:
        ends.set()
        thread.join(SOON)


def test_after_an_error_the_next_one_has_it():
    turn, ran = Turn(), Event()
    with pytest.raises(ValueError), turn:
        thread = waiting(turn, ran.set)
        raise ValueError
    thread.join(SOON)
    assert ran.is_set()
