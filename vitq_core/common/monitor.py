"""Progress and cancelling, the same way in every pass."""

from __future__ import annotations

from collections.abc import Callable

from .errors import Cancelled

Progress = Callable[[float, str], None]


class Monitor:
    """Reports fractions of one pass as a part ``[start, end]`` of the whole run, and stops it when asked."""

    def __init__(
        self, progress: Progress | None = None, cancel: object = None, start: float = 0.0, end: float = 1.0
    ) -> None:
        self._progress, self._cancel = progress, cancel
        if progress is not None and not callable(progress):
            raise ValueError(f"progress must be a function of (fraction, message), got {progress!r:.80}")
        if cancel is False:
            self._cancel = None
        elif cancel is not None and not callable(getattr(cancel, "is_set", cancel)):
            raise ValueError(f"cancel must be a function or an object with is_set(), got {cancel!r:.80}")
        self._start, self._end = start, end

    def part(self, start: float, end: float) -> Monitor:
        """A monitor whose 0..1 is ``start``..``end`` of this one's."""
        width = self._end - self._start
        return Monitor(self._progress, self._cancel, self._start + start * width, self._start + end * width)

    def report(self, fraction: float, message: str) -> None:
        """Tell how far it is; raises Cancelled if the caller wants to stop."""
        self.check()
        if self._progress is not None:
            self._progress(self._start + (self._end - self._start) * min(fraction, 1.0), message)

    def done(self, message: str) -> None:
        """Tell that all of it is there: who cancels now is too late, and what was worked out is kept."""
        if self._progress is not None:
            self._progress(self._end, message)

    def check(self) -> None:
        """Raises Cancelled if the caller wants to stop."""
        asked = getattr(self._cancel, "is_set", self._cancel)
        if asked is not None and asked():
            raise Cancelled("cancelled; the model that was given is unchanged")
