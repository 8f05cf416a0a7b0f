"""Where workers leave texts for each other: a store of ``torch.distributed``."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TROUBLE = "trouble"  # the first sentence about a worker that failed, and which one that is


class BoardLost(Exception):
    """Whoever keeps the store is gone."""


class Board:
    """Texts by name. No call waits for one that is not there, so that one thread never holds up the other."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def put(self, name: str, text: str) -> None:
        """Raises BoardLost, as all methods do."""
        self._asked("set", name, text)

    def read(self, name: str) -> str | None:
        """None where it is not there yet."""
        return self._asked("get", name).decode() if self._asked("check", [name]) else None

    def all(self, names: Sequence[str]) -> list[str]:
        """Of names that are there."""
        return [text.decode() for text in self._asked("multi_get", list(names))] if names else []

    def claim(self, name: str, text: str) -> str:
        """Put it where nothing is yet; what is there afterwards."""
        return self._asked("compare_set", name, "", text).decode()

    def _asked(self, method: str, *values: Any) -> Any:
        try:
            return getattr(self._store, method)(*values)
        except RuntimeError as error:  # torch's errors of the network and of time are such
            raise BoardLost(str(error)) from error


@dataclass(frozen=True)
class Seat:
    """Where a worker runs. ``home``: equal for those that see each other's process numbers."""

    host: str
    home: str
    pid: int

    @classmethod
    def own(cls) -> Seat:
        host = socket.gethostname()
        try:
            space = os.readlink("/proc/self/ns/pid")
        except OSError:  # no Linux
            space = ""
        return cls(host, f"{host} {space}", os.getpid())

    @classmethod
    def read(cls, text: str) -> Seat:
        return cls(**json.loads(text))

    def text(self) -> str:
        return json.dumps(asdict(self))

    def has_ended(self) -> bool:
        """Whether this process is over; only for one with the same ``home``."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return not _exists(self.pid)
        return state in "ZX"  # over, and only its parent has not asked yet how it ended


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True
