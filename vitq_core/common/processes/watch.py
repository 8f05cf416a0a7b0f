"""A thread that says this worker is alive, and hears when another is not."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event, Thread

from ..errors import VitqError
from .board import TROUBLE, Board, BoardLost, Seat

BEAT = 0.5  # seconds between two signs of life
TOLD = 3.0  # seconds in which one that was told to end looks for the reason
GRACE = 10.0  # seconds that a worker has to leave what it is at; then its process ends
LEFT = "left"
GONE = "the connection to it is lost"


class WorkerLost(VitqError):
    """Another worker died or failed; the sentence names it."""


@dataclass(frozen=True)
class Trouble:
    """What is wrong, in a sentence, and with which worker; whether that one ``died``, so that it says nothing
    itself."""

    rank: int
    sentence: str
    died: bool = False

    def text(self) -> str:
        return json.dumps(vars(self))


class Watch:
    """Of worker ``rank``; ``seats`` of all. ``trouble``: what was found first, by anybody.

    The first worker watches all, the others watch it, and everybody those whose processes it sees.
    ``seen``: {worker: what it has done}, as far as it is watched. ``patience``: seconds without a sign of
    life after which a worker counts as dead.
    """

    def __init__(self, board: Board, rank: int, seats: Sequence[Seat], patience: float) -> None:
        self.board, self.rank, self.seats, self.patience = board, rank, seats, patience
        self.trouble: Trouble | None = None
        self.own = 0
        self.seen: dict[int, int] = {}
        self._beats = 0
        self._heard: dict[int, tuple[str, float]] = {}  # {worker: its last sign of life, when it came}
        self._told_at: float | None = None
        self._over = Event()
        self._thread = Thread(target=self._run, daemon=True, name="watch")

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def told_to_end(self) -> None:
        """By a signal: another worker may have died, and whoever started this one ends them all."""
        self._told_at = time.monotonic()

    def report(self, mine: Trouble) -> Trouble:
        """Let everybody know; what is known of already stands."""
        try:
            found = Trouble(**json.loads(self.board.claim(TROUBLE, mine.text())))
        except BoardLost:
            found = mine
        self.trouble = self.trouble or found
        return self.trouble

    def name(self, rank: int) -> str:
        return f"worker {rank} of {len(self.seats)} on {self.seats[rank].host}"

    def speaks(self) -> bool:
        """Whether it is this worker that tells people: the first, or everyone where that is gone."""
        trouble = self.trouble
        return self.rank == 0 or (trouble is not None and trouble.rank == 0 and trouble.died)

    def death(self, rank: int, reason: str) -> Trouble:
        return Trouble(rank, f"{self.name(rank)} died: {reason}", True)

    def lose(self) -> Trouble:
        """The board is gone, and with it whoever keeps it."""
        self.trouble = self.trouble or self.death(0, GONE)
        return self.trouble

    def beat(self) -> None:
        self._beats += 1
        self.board.put(f"alive/{self.rank}", f"{self._beats} {self.own}")

    def look(self) -> Trouble | None:
        """What is wrong now; what is known already is said first."""
        said = self.board.read(TROUBLE)
        if said is not None:
            return Trouble(**json.loads(said))
        others = [rank for rank in range(len(self.seats)) if rank != self.rank]
        near = [rank for rank in others if self.seats[rank].home == self.seats[self.rank].home]
        watched = others if self.rank == 0 else sorted({0, *near})
        signs = self.board.all([f"alive/{rank}" for rank in watched])
        for rank, sign in zip(watched, signs, strict=True):
            if sign != LEFT and (reason := self._dead(rank, sign, rank in near)):
                return self.death(rank, reason)
        return None

    def _dead(self, rank: int, sign: str, near: bool) -> str:
        """Why it counts as dead; empty for one that lives."""
        now = time.monotonic()
        before, since = self._heard.get(rank, ("", now))
        self.seen[rank] = int(sign.split()[1])
        self._heard[rank] = (sign, since if sign == before else now)
        if near and self.seats[rank].has_ended():
            return "its process has ended, killed or out of memory"
        if sign == before and now - since > self.patience:
            return f"nothing was heard of it for {now - since:.0f} seconds"
        return ""

    def _run(self) -> None:
        while self.trouble is None and not self._over.wait(BEAT):
            self._once()
        if self.trouble is not None and not self._over.wait(GRACE):
            if self.speaks():
                print(self.trouble.sentence, file=sys.stderr, flush=True)
            os._exit(1)  # the work does not come to where it is asked

    def _once(self) -> None:
        try:
            self.beat()
            found = self.look()
        except BoardLost:
            self.lose()
            return
        if found is None and self._told_at is not None and time.monotonic() - self._told_at > TOLD:
            found = Trouble(self.rank, f"{self.name(self.rank)} was told to end")
        if found is not None:
            self.report(found)
