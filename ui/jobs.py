"""Which sessions have a run under way, and which of them asked for it to stop."""

from collections.abc import Callable
from threading import Event, Lock


class Jobs:
    """One run per session; starting another one stops the first."""

    def __init__(self) -> None:
        self._stops: dict[str, Event] = {}
        self._lock = Lock()

    def start(self, session: str) -> Callable[[], bool]:
        """Registers a run; the returned function says whether it should stop."""
        stop = Event()
        with self._lock:
            before = self._stops.pop(session, None)
            self._stops[session] = stop
        if before is not None:
            before.set()
        return stop.is_set

    def flag(self, session: str) -> Callable[[], bool]:
        """What `start` returned; a run cancelled while it waited for its turn finds itself stopped."""
        with self._lock:
            stop = self._stops.get(session)
        return stop.is_set if stop else _stopped

    def running(self, session: str) -> bool:
        return session in self._stops

    def cancel(self, session: str) -> bool:
        """Asks the session's run to stop; False where none is under way."""
        with self._lock:
            stop = self._stops.pop(session, None)
        if stop is not None:
            stop.set()
        return stop is not None

    def finish(self, session: str, stopped: Callable[[], bool]) -> None:
        """Forgets the run that `start` returned `stopped` for, unless a newer one has taken its place."""
        with self._lock:
            current = self._stops.get(session)
            if current is not None and current.is_set == stopped:
                del self._stops[session]


def _stopped() -> bool:
    return True
