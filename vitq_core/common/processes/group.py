"""A group of workers as those see it that share work: shards, what is gathered, what all are told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch

from ..errors import Cancelled, VitqError
from ..words import brief
from .board import Board, BoardLost
from .watch import Trouble, Watch, WorkerLost

T = TypeVar("T")
POLL = 0.05  # seconds between two looks at what another worker has to say


class Group:
    """Worker ``rank`` of ``size``, counted from 0. Without a ``watch`` it is alone.

    Everybody must call :meth:`gather`, :meth:`share` and :meth:`together` in the same order. They raise
    WorkerLost, a sentence with the worker's name, where another one died or failed.
    """

    def __init__(self, rank: int = 0, size: int = 1, watch: Watch | None = None) -> None:
        self.rank, self.size, self._watch = rank, size, watch
        self._calls = 0

    @property
    def first(self) -> bool:
        """Whether this is the worker that merges, writes and speaks."""
        return self.rank == 0

    @property
    def device(self) -> str:
        """This worker's own: a graphics processor of its machine, by LOCAL_RANK, where there are any."""
        if not torch.cuda.is_available():
            return "cpu"
        return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count()}"

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """Every ``size``-th of them: none, where there are more workers than items."""
        return items[self.rank :: self.size]

    def note(self, count: int) -> int:
        """Say how much this worker has done; how much all have, as far as this one knows."""
        if self._watch is None:
            return count
        self._watch.own = count
        return count + sum(self._watch.seen.values())

    def check(self) -> None:
        """Raises WorkerLost where a worker died or failed."""
        if self._watch is not None and self._watch.trouble is not None:
            raise WorkerLost(self._watch.trouble.sentence)

    def gather(self, text: str) -> list[str] | None:
        """Of all workers in their order, at the first one; None at the others."""
        if self._watch is None:
            return [text]
        call = self._next_call()
        if not self.first:
            self._put(f"{call}/{self.rank}", text)
            return None
        return [text, *(self._wait_for(f"{call}/{rank}") for rank in range(1, self.size))]

    def share(self, text: str | None) -> str:
        """What the first worker gives, at all of them; the others give None."""
        if self._watch is None:
            return text
        call = self._next_call()
        if not self.first:
            return self._wait_for(call)
        self._put(call, text)
        return text

    def together(self, text: str, merge: Callable[[list[str]], str]) -> str:
        """What ``merge`` makes of everybody's texts at the first worker, at all of them."""
        texts = self.gather(text)
        return self.share(None if texts is None else merge(texts))

    @contextmanager
    def answering(self) -> Iterator[None]:
        """What fails inside is told to the other workers, so that nobody waits for this one."""
        try:
            yield
        except BaseException as error:
            if self._watch is not None and not isinstance(error, WorkerLost):
                name = self._watch.name(self.rank)
                self._watch.report(Trouble(self.rank, f"{name} failed: {_said(error)}"))
            raise

    def _next_call(self) -> str:
        self._calls += 1
        return f"call/{self._calls}"

    def _put(self, name: str, text: str) -> None:
        self.check()
        try:
            self._board.put(name, text)
        except BoardLost:
            self._lost()

    def _wait_for(self, name: str) -> str:
        while True:
            self.check()
            try:
                found = self._board.read(name)
            except BoardLost:
                self._lost()
            if found is not None:
                return found
            time.sleep(POLL)

    @property
    def _board(self) -> Board:
        return self._watch.board

    def _lost(self) -> None:
        raise WorkerLost(self._watch.lose().sentence)


def _said(error: BaseException) -> str:
    """A sentence as it is; of anything else what kind of error it is, too."""
    if isinstance(error, Cancelled):
        return "it was cancelled"
    if isinstance(error, (VitqError, ValueError)):
        return brief(error, 600)
    return (
        "it was interrupted"
        if isinstance(error, KeyboardInterrupt)
        else f"{type(error).__name__}: {brief(error)}"
    )


ALONE = Group()
