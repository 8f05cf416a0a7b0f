"""One computation at a time, in the order in which they were asked for."""

from __future__ import annotations

from collections import deque
from threading import Condition, get_ident
from typing import Any


class Turn:
    """A lock that a thread may take again while it has it, and that goes to whoever has waited longest.

    Python's own goes to whoever comes first after a release: a thread that makes run after run has it back
    before the next one in line has woken up.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._line: deque[object] = deque()
        self._owner: int | None = None
        self._depth = 0

    def __enter__(self) -> Turn:
        me = get_ident()
        with self._changed:
            if self._owner != me:
                self._wait(me)
            self._depth += 1
        return self

    def __exit__(self, *raised: Any) -> None:
        with self._changed:
            self._depth -= 1
            if not self._depth:
                self._owner = None
                self._changed.notify_all()

    def _wait(self, me: int) -> None:
        ticket = object()
        self._line.append(ticket)
        try:
            self._changed.wait_for(lambda: self._owner is None and self._line[0] is ticket)
        finally:
            self._line.remove(ticket)
        self._owner = me
