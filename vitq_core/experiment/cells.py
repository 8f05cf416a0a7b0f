"""A table's cells, each worked out once by whichever process comes first, and kept in a folder.

The processes are those of ``torchrun``, or any that share the folder, on this machine or on others. A process
that works on a cell holds a lock on a file, which ends with the process: a cell whose process died is free
again, and a finished one is there for good.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from ..common.errors import Cancelled, StorageError, VitqError
from ..common.files import given_path, write_atomically
from ..common.monitor import Monitor, Progress
from ..common.processes import ALONE, Group, WorkerLost
from ..common.words import brief, counted

POLL = 0.5  # seconds between two looks at cells that others work on
LONGEST = 80  # characters of a key in the name of its file


@dataclass(frozen=True)
class Cell:
    """``key``: its name, of which there is one in a table. ``work`` gives a dict that JSON can hold, and
    raises ValueError or VitqError, a sentence, where it cannot be."""

    key: str
    work: Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Table:
    """``results`` of the cells by key, in the cells' order; ``failed``: the sentences of the others."""

    results: dict[str, dict[str, Any]]
    failed: dict[str, str] = field(default_factory=dict)


class Shelf:
    """The folder with the results: a file ``<key>-<digits>.json`` each; ``locks`` beside them.

    Raises StorageError where it cannot be written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = given_path(folder, "the folder of results", "folder")
        self._locks = self.folder / "locks"
        try:
            self._locks.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"the folder of results, {self.folder}, cannot be made ({error.strerror})",
                f"the folder of results cannot be made ({error.strerror})",
            ) from error

    def result(self, key: str) -> dict[str, Any] | None:
        """None where it is not there yet. Raises VitqError for a file that is none."""
        stored = self._stored(key)
        return None if stored is None else stored.get("result")

    def failure(self, key: str) -> str | None:
        stored = self._stored(key)
        return None if stored is None else stored.get("failed")

    def attempt(self, key: str) -> str | None:
        """Who wrote what is there, and when."""
        stored = self._stored(key)
        return None if stored is None else f"{stored['by']} {stored['at']}"

    def keep(self, key: str, **what: Any) -> None:
        """Its ``result``, or the sentence by which it ``failed``. Raises VitqError for what is no JSON."""
        by = f"{socket.gethostname()} {os.getpid()}"
        try:
            text = json.dumps({"key": key, **what, "by": by, "at": time.time()}, allow_nan=False, indent=1)
        except (TypeError, ValueError) as error:
            raise VitqError(f"the cell {key!r:.80} gives what JSON cannot hold: {error}") from error
        write_atomically(self._file(key), lambda path: path.write_text(text, "utf-8"), "a cell's result")

    def check_locks(self) -> None:
        """Raises StorageError on a file system that knows none, where nobody could ever claim a cell."""
        lock = FileLock(self._locks / f"{uuid4().hex}.try", timeout=0)  # others may look at the same time
        try:
            lock.acquire()
        except (Timeout, OSError, NotImplementedError) as error:
            raise StorageError(
                f"files in {self._locks} cannot be locked ({brief(error, 60)}); choose a folder on a file "
                "system with locks",
                "the folder of results is on a file system without locks",
            ) from error
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)

    @contextmanager
    def claimed(self, key: str) -> Iterator[bool]:
        """Whether this process may work on it now; if so, nobody else does before it leaves or dies."""
        lock = FileLock(self._locks / f"{_name(key)}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _file(self, key: str) -> Path:
        return self.folder / f"{_name(key)}.json"

    def _stored(self, key: str) -> dict[str, Any] | None:
        path = self._file(key)
        try:
            stored = json.loads(path.read_text("utf-8"))
            if stored["key"] == key and ("result" in stored) != ("failed" in stored):
                return stored
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise VitqError(f"{path} holds no result of a cell; delete it ({brief(error, 60)})") from error
        raise VitqError(f"{path} holds no result of the cell {key!r:.80}; delete it")


def _name(key: str) -> str:
    """Readable, and different for different keys."""
    return f"{re.sub('[^A-Za-z0-9.]+', '-', key)[:LONGEST]}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def fill(
    cells: Sequence[Cell],
    folder: str | Path,
    processes: Group = ALONE,
    progress: Progress | None = None,
    cancel: object = None,
) -> Table:
    """Every cell's result, at every process: worked out here, or by others that share the ``folder``.

    What is in the folder is not worked out again. Cells that failed before are tried once more, and one that
    fails does not hold up the others. ``progress(share, message)`` hears of the cells of all processes.
    Raises ValueError for two cells of one key, VitqError for a folder that holds something else, StorageError
    where it cannot be written, Cancelled, and WorkerLost where a worker of ``processes`` died.
    """
    with processes.answering():
        work = Filling(cells, folder, processes, Monitor(progress, cancel))
        while work.open():
            if not work.step():
                time.sleep(POLL)
        return work.table()


class Filling:
    """One process among those that fill a table. Raises as :func:`fill` does."""

    def __init__(self, cells: Sequence[Cell], folder: str | Path, processes: Group, monitor: Monitor) -> None:
        if len({cell.key for cell in cells}) != len(cells):
            raise ValueError("two cells have the same key; each needs its own")
        self.shelf = shelf = Shelf(folder)
        self._processes, self._monitor = processes, monitor
        begin = processes.rank * len(cells) // processes.size  # each begins elsewhere
        self._cells = [*cells[begin:], *cells[:begin]]
        self._order = [cell.key for cell in cells]
        self._finished: set[str] = set()
        shelf.check_locks()
        self._before = {cell.key: shelf.attempt(cell.key) for cell in cells}
        processes.together("", lambda texts: "")  # nobody begins before all know what failed before

    def open(self) -> list[Cell]:
        """Those without a result of which no new attempt failed."""
        self._processes.check()
        found = [cell for cell in self._cells if not self.over(cell.key)]
        done = len(self._cells) - len(found)
        share = done / len(self._cells) if self._cells else 1.0
        self._monitor.report(share, f"{done} of {counted(len(self._cells), 'cell')} there")
        return found

    def over(self, key: str) -> bool:
        """It has a result, or failed since this table was begun."""
        if key not in self._finished:
            known = self.shelf.result(key) is not None or (
                self.shelf.failure(key) is not None and self.shelf.attempt(key) != self._before[key]
            )
            self._finished |= {key} if known else set()
        return key in self._finished

    def step(self) -> bool:
        """Work out the first cell that is free; False where others have all that is left."""
        for cell in self.open():
            with self.shelf.claimed(cell.key) as mine:
                if mine and not self.over(cell.key):
                    self.settle(cell.key, cell.work)
                if mine:
                    return True
        return False

    def settle(self, key: str, work: Callable[[], Mapping[str, Any]]) -> None:
        """Keep what ``work`` gives, or the sentence that it fails with."""
        try:
            self.shelf.keep(key, result=dict(work()))
        except (Cancelled, StorageError, WorkerLost):
            raise
        except (VitqError, ValueError) as error:
            self.shelf.keep(key, failed=brief(error, 600))

    def table(self) -> Table:
        return table_of(self._order, self.shelf)


def table_of(keys: Iterable[str], shelf: Shelf) -> Table:
    """What is there now."""
    results, failed = {}, {}
    for key in keys:
        if (result := shelf.result(key)) is not None:
            results[key] = result
        elif (sentence := shelf.failure(key)) is not None:
            failed[key] = sentence
    return Table(results, failed)
