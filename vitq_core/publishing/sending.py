"""Files on their way: how far they are is told, and they stop when asked to."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from ..common.monitor import Monitor

MB = 10**6


class Sending:
    """Several files together; ``begin`` where reading them is sending them, and no longer making sums."""

    def __init__(self, paths: Sequence[Path], monitor: Monitor) -> None:
        self._monitor, self._total = monitor, sum(path.stat().st_size for path in paths)
        self._sent: dict[str, int] = {}
        self._begun = False
        self.files = [_Sent(path, self) for path in paths]

    def begin(self) -> None:
        self._begun = True

    def read(self, name: str, position: int) -> None:
        """Raises Cancelled when asked to stop. What is sent again, after a failure, is not counted twice."""
        if not self._begun:
            return self._monitor.check()
        self._sent[name] = max(position, self._sent.get(name, 0))
        sent = sum(self._sent.values())
        self._monitor.report(
            sent / max(self._total, 1), f"Uploading {name}: {sent / MB:.0f} of {self._total / MB:.0f} MB"
        )

    def close(self) -> None:
        for file in self.files:
            file.close()


class _Sent(io.BufferedReader):
    """A file that the hub's client reads as it sends it."""

    def __init__(self, path: Path, sending: Sending) -> None:
        super().__init__(io.FileIO(path))
        self._name, self._sending = path.name, sending

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self._sending.read(self._name, self.tell())
        return data
