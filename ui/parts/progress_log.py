"""What a reconstruction reported so far, for whoever looks at it meanwhile."""

from typing import Any

from vitq_core.experiment import LEARNING


class ProgressLog:
    """An engine's `watch`: keeps the newest report about every module. False until there is one.

    One thread reports, others read: what they get is replaced, never changed.
    """

    def __init__(self) -> None:
        self.latest: Any = None  # the newest UnitProgress
        self.rows: dict[int, Any] = {}  # index of a module → its UnitRow

    def __call__(self, progress: Any) -> None:
        self.rows = {**self.rows, progress.index: progress.row}
        self.latest = progress

    def __bool__(self) -> bool:
        return self.latest is not None

    @property
    def total(self) -> int:
        """Modules in all; 0 until the first report."""
        return self.latest.total if self.latest else 0

    @property
    def finished(self) -> list[Any]:
        """The rows of the modules that are done, in order."""
        rows = self.rows
        return [rows[index] for index in sorted(rows) if rows[index].outcome != LEARNING]
