"""A publication that is under way. Its thread alone has the token, and ends with it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Semaphore, Thread

import vitq_core as vq
from vitq_core.experiment.measure import Progress

from ..parts import markup
from ..parts.jobs import Job
from ..running.runs import sentence

PREPARING, WAITING = "Writing the model card", "Waiting: other publications are before yours"
STOPPED = markup.banner("stopped", "Cancelled.", "Nothing was published.")
Send = Callable[[str, Progress, Job], str]  # with a token; gives an address


class UnderWay:
    """`ended`: HTML of how it ended. `turns`: how many may upload at once."""

    def __init__(self, job: Job, send: Send, token: str, done: Callable[[str], str], turns: Semaphore):
        self.job, self.ended, self.share, self.said = job, "", 0.0, PREPARING
        self._send, self._done, self._turns, self._over = send, done, turns, Event()
        Thread(target=self._run, args=(token,), daemon=True).start()

    @property
    def banner(self) -> str:
        return markup.banner("busy", f"Publishing: {self.share:.0%}", self.said)

    def over(self, seconds: float) -> bool:
        """Whether it has ended, or does within so many seconds."""
        return self._over.wait(seconds)

    def _run(self, token: str) -> None:
        try:
            if not self._turns.acquire(blocking=False):
                self.said = WAITING
                self._turns.acquire()
            try:
                self.ended = self._done(self._send(token, self._hear, self.job))
            finally:
                self._turns.release()
        except vq.Cancelled:
            self.ended = STOPPED
        except Exception as error:
            self.ended = markup.banner("error", "Not published.", whole(sentence(error)))
        finally:
            self._over.set()

    def _hear(self, share: float, said: str) -> None:
        self.share, self.said = share, said


def whole(said: str) -> str:
    """As a sentence of its own."""
    return f"{said[:1].upper()}{said[1:]}{'' if said.endswith(('.', '?', '!')) else '.'}"
