"""What workers have summed up so far, kept in files, so that a run that was killed goes on.

The first worker keeps `<file>`, which is all there is where it is alone; the others `<file>.1-of-4` and so
on, in the same folder. A run begins by putting all of them together, however many workers wrote them.
"""

from __future__ import annotations

import glob
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from ..common.errors import VitqError
from ..common.files import given_path, write_atomically
from ..common.processes import Group
from ..common.spans import Span, covered, merged

State = dict[str, Any]
# What reading a file that is no state raises.
DAMAGE = (OSError, ArithmeticError, LookupError, TypeError, AttributeError, ValueError, RecursionError)


@dataclass(frozen=True)
class Kind:
    """What is summed up. ``run``: what people call such a run, with its article, ``differs``: what makes it
    another one. ``checked`` gives a state that was read, or raises one of DAMAGE; ``merge`` adds two.
    """

    run: str
    differs: str
    checked: Callable[[State], State]
    merge: Callable[[State, State], State]


@dataclass(frozen=True)
class Sums:
    """``state`` of what was seen at ``done``: stretches of the pictures. None: nothing yet."""

    state: State | None
    done: tuple[Span, ...]

    def text(self, **more: Any) -> str:
        return json.dumps({**more, "state": self.state, "done": merged(self.done)})

    @classmethod
    def read(cls, text: str) -> Sums:
        stored = json.loads(text)
        return cls(stored["state"], tuple(map(tuple, stored["done"])))


class Kept:
    """``path`` None: kept by nobody, and only put together at the end.

    ``begin``: what this worker goes on from, which is the first one's alone. ``done``: what no worker has to
    do again. Raises VitqError for files of another run or damaged ones.
    """

    def __init__(
        self, path: str | Path | None, kind: Kind, processes: Group, fingerprint: Callable[[], str]
    ) -> None:
        self._main, self._kind, self._processes = _checked_path(path), kind, processes
        self._fingerprint = "" if path is None else fingerprint()
        self._saved = time.monotonic()
        found = processes.share(self._gathered().text() if processes.first else None)
        before = Sums.read(found)
        self.done = before.done
        self.begin = before if processes.first else Sums(None, ())

    @property
    def _path(self) -> Path | None:
        rank, size = self._processes.rank, self._processes.size
        return self._main if not rank or self._main is None else _of_worker(self._main, rank, size)

    def _gathered(self) -> Sums:
        """Of all files that there are; from then on it is in the first one."""
        if self._main is None:
            return Sums(None, ())
        others = sorted(self._main.parent.glob(f"{glob.escape(self._main.name)}.*-of-*"))
        files = [path for path in (self._main, *others) if path.is_file()]
        whole = reduce(self._added, map(self._read, files), Sums(None, ()))
        if others:
            self._write(self._main, whole)
            for path in others:
                path.unlink(missing_ok=True)
        return whole

    def _added(self, whole: Sums, more: Sums) -> Sums:
        """What is in both was put together already, before the file was deleted."""
        both = covered((*whole.done, *more.done))
        if more.state is None or both == covered(whole.done):
            return whole
        if both != covered(whole.done) + covered(more.done):
            raise VitqError(f"{self._main} and the files beside it have seen the same pictures; delete them")
        state = more.state if whole.state is None else self._kind.merge(whole.state, more.state)
        return Sums(state, tuple(merged((*whole.done, *more.done))))

    def _read(self, path: Path) -> Sums:
        try:
            text = path.read_text()
            fingerprint, sums = json.loads(text)["fingerprint"], Sums.read(text)
            sums = Sums(self._kind.checked(sums.state), tuple((int(a), int(b)) for a, b in sums.done))
        except DAMAGE as error:
            raise VitqError(f"{path} holds no state of {self._kind.run}; delete it") from error
        if fingerprint != self._fingerprint:
            raise VitqError(
                f"{path} belongs to another run ({self._kind.differs} differ); delete it or name another file"
            )
        return sums

    def save(self, sums: Sums, every: float = 0.0) -> None:
        """Write this worker's, unless that was done less than ``every`` seconds ago."""
        if self._path is None or sums.state is None or time.monotonic() - self._saved < every:
            return
        self._write(self._path, sums)
        self._saved = time.monotonic()

    def _write(self, path: Path, sums: Sums) -> None:
        text = sums.text(fingerprint=self._fingerprint)
        write_atomically(path, lambda temporary: temporary.write_text(text), "the state")

    def together(self, sums: Sums) -> Sums:
        """Of all workers, at each of them; kept in one file from then on."""
        found = Sums.read(self._processes.together(sums.text(), self._whole))
        if not self._processes.first and self._path is not None:
            self._path.unlink(missing_ok=True)
        return found

    def _whole(self, texts: Iterable[str]) -> str:
        whole = reduce(self._added, map(Sums.read, texts), Sums(None, ()))
        if self._processes.size > 1:
            self.save(whole)
        return whole.text()


def _of_worker(main: Path, rank: int, size: int) -> Path:
    return main.with_name(f"{main.name}.{rank}-of-{size}")


def _checked_path(path: object) -> Path | None:
    if path is None:
        return None
    file = given_path(path, "state", "file")
    if file.is_dir():
        raise ValueError(f"state must be the name of a file, got {path!r:.80}")
    return file
