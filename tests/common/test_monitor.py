"""Progress of nested passes adds up to 0..1; a stop is noticed at the next report or check."""

import threading

import pytest

from vitq_core.common.errors import Cancelled
from vitq_core.common.monitor import Monitor


def test_parts_of_parts_report_their_share_of_the_whole() -> None:
    heard: list[tuple[float, str]] = []
    inner = Monitor(lambda *said: heard.append(said)).part(0.5, 1.0).part(0.0, 0.5)
    for fraction in (0.0, 0.5, 1.0, 7.0):
        inner.report(fraction, f"at {fraction:g}")
    assert heard == [(0.5, "at 0"), (0.625, "at 0.5"), (0.75, "at 1"), (0.75, "at 7")]


def test_an_event_or_a_callable_stops_it_in_every_part() -> None:
    event = threading.Event()
    for monitor in (
        Monitor(cancel=event),
        Monitor(cancel=event.is_set),
        Monitor(cancel=event).part(0.2, 0.3),
    ):
        event.clear()
        monitor.check()
        monitor.report(0.5, "on")
        event.set()
        with pytest.raises(Cancelled, match="cancelled; the model that was given is unchanged"):
            monitor.check()
        with pytest.raises(Cancelled):
            monitor.report(0.6, "on")


def test_nothing_is_said_after_the_stop() -> None:
    heard: list[float] = []
    with pytest.raises(Cancelled):
        Monitor(lambda fraction, _: heard.append(fraction), lambda: True).report(0.1, "on")
    assert heard == []


def test_who_cancels_when_all_is_done_is_too_late() -> None:
    heard: list[tuple[float, str]] = []
    Monitor(lambda *said: heard.append(said), lambda: True).part(0.0, 0.5).done("there")
    assert heard == [(0.5, "there")]


class Flag:
    is_set = True  # no method


@pytest.mark.parametrize("cancel", [True, 1, 0.5, "stop", [], Flag()])
def test_what_cannot_be_asked_is_refused_at_once(cancel: object) -> None:
    with pytest.raises(ValueError, match=r"^cancel must be a function or an object with is_set\(\), got "):
        Monitor(cancel=cancel)


def test_silence_is_fine() -> None:
    Monitor().part(0.0, 0.1).report(0.5, "nobody listens")
