"""A long piece of work at a terminal: it tells how far it is, and Ctrl-C ends it in good order."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from .ending import FAILED, INTERRUPTED, Ended

if TYPE_CHECKING:
    from vitq_core.experiment import Group

EVERY = 2.0  # seconds between two plain lines
ALONE_ONLY = "this command runs in one process; torchrun is for evaluate, importance, sweep and reproduce"
STOPPING = "Stopping in good order; press Ctrl-C once more to stop at once."


class Work:
    """Is asked whether to stop (`stop`), and told how far it is (`progress`).

    `processes`: those that share the work, of which the first alone speaks. `kept`: what is not lost where it
    is stopped, as a sentence's second half.
    """

    def __init__(self, processes: Group) -> None:
        self.processes = processes
        self.signal = 0
        self.kept = "nothing was changed"
        self._bar, self._task = None, None
        self._said, self._when = "", 0.0

    def device(self, given: str | None) -> str | None:
        """Where this process computes: as it was `given`, or among many its own graphics processor."""
        return self.processes.device if given is None and self.processes.size > 1 else given

    def stop(self) -> bool:
        return self.signal != 0

    def progress(self, fraction: float | None, message: str) -> None:
        """`fraction` 0..1 of the whole."""
        if self._bar is not None:
            self._bar.update(self._task, completed=100 * (fraction or 0.0), description=message)
        elif self.processes.first and message != self._said and time.monotonic() - self._when >= EVERY:
            self._said, self._when = message, time.monotonic()
            print(f"{100 * (fraction or 0.0):3.0f} % {message}", file=sys.stderr, flush=True)

    def say(self, sentence: str) -> None:
        """For people, beside the result."""
        if self.processes.first:
            print(sentence, file=sys.stderr, flush=True)

    def ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        """A signal's handler; the second one ends everything."""
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
        self.say(STOPPING)


@contextmanager
def working(shared: bool = False) -> Iterator[Work]:
    """Raises Ended, with what is kept, where the work is stopped.

    `shared`: whether the processes that torchrun started share it; others would only do the same again.
    """
    import vitq_core as vq
    from vitq_core.experiment import joined

    with joined() as processes:
        if processes.size > 1 and not shared:
            raise ValueError(ALONE_ONLY)
        work = Work(processes)
        if not processes.first:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the result is said after the work
        with _signals(work), _bar(work):
            try:
                yield work
            except (vq.Cancelled, KeyboardInterrupt) as error:
                code = FAILED if work.signal == signal.SIGTERM else INTERRUPTED
                if not processes.first:
                    raise SystemExit(code) from error
                raise Ended(code, f"stopped; {work.kept}") from error


@contextmanager
def _signals(work: Work) -> Iterator[None]:
    """Only the main thread may hear them. Among many processes, being told to end is how they hear that
    another one died, and left to them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [signal.SIGINT] if work.processes.size > 1 else [signal.SIGINT, signal.SIGTERM]
    before = {each: signal.signal(each, work.ask_to_stop) for each in heard}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _bar(work: Work) -> Iterator[None]:
    """At a terminal a bar, elsewhere plain lines."""
    if not (sys.stderr.isatty() and work.processes.first):
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn()
    with Progress(
        *columns, TextColumn("{task.description}"), console=Console(stderr=True), transient=True
    ) as bar:
        work._bar, work._task = bar, bar.add_task("", total=100)
        try:
            yield
        finally:
            work._bar = None
