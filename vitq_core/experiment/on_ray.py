"""Cells worked out by the machines of a Ray cluster; this process hands them over and keeps the results."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from ..common.errors import VitqError
from ..common.monitor import Monitor, Progress
from ..common.processes import ALONE
from ..common.words import brief
from .cells import POLL, Cell, Filling, Table

AHEAD = 2  # cells handed over for each processor: nobody waits for the next one


@dataclass(frozen=True)
class _Pending:
    """A cell that is under way, and what gives its claim back."""

    key: str
    claim: ExitStack


def fill_on_ray(
    cells: Sequence[Cell],
    folder: str | Path,
    progress: Progress | None = None,
    cancel: object = None,
    processors: float = 1,
) -> Table:
    """As :func:`vitq_core.experiment.cells.fill`, with the work done by a Ray cluster: that of this
    machine, or of RAY_ADDRESS.

    Each cell is a task of so many ``processors`` there, which need this package installed but not the
    ``folder``. A cell that a machine dies with is handed over again by Ray. Raises as ``fill`` does, and
    VitqError where Ray is not installed or there is no cluster.
    """
    ray = _ray()
    work = Filling(cells, folder, ALONE, Monitor(progress, cancel))
    with _connected(ray):
        _Handing(ray, work, processors).run()
    return work.table()


class _Handing:
    def __init__(self, ray: ModuleType, work: Filling, processors: float) -> None:
        self._ray, self._work = ray, work
        self._task = ray.remote(num_cpus=processors, max_retries=3)(_worked)
        self._most = max(1, int(AHEAD * ray.cluster_resources().get("CPU", 1) / processors))
        self._pending: dict[Any, _Pending] = {}

    def run(self) -> None:
        try:
            while cells := self._work.open():
                under_way = {pending.key for pending in self._pending.values()}
                for cell in cells:
                    if cell.key not in under_way and len(self._pending) < self._most:
                        self._hand_over(cell)
                self._hear()
        finally:
            for reference, pending in self._pending.items():
                self._ray.cancel(reference, force=True)
                pending.claim.close()

    def _hand_over(self, cell: Cell) -> None:
        """Unless another process has it."""
        claim = ExitStack()
        if claim.enter_context(self._work.shelf.claimed(cell.key)) and not self._work.over(cell.key):
            self._pending[self._task.remote(cell.work)] = _Pending(cell.key, claim)
        else:
            claim.close()

    def _hear(self) -> None:
        """Keep what has ended."""
        if not self._pending:
            time.sleep(POLL)  # others have all that is left
            return
        ended, _ = self._ray.wait(list(self._pending), num_returns=1, timeout=POLL)
        for reference in ended:
            pending = self._pending.pop(reference)
            with pending.claim:
                self._work.settle(pending.key, partial(self._result, reference))

    def _result(self, reference: Any) -> Mapping[str, Any]:
        """Raises what the cell raised, and VitqError where its machine could not do it."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError as error:
            raise VitqError(f"Ray could not work it out: {brief(error, 300)}") from error


def _worked(work: Any) -> dict[str, Any]:
    return dict(work())


def _ray() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise VitqError(
            'Ray is not installed; pip install "ray[tune]", the extra ray of this package'
        ) from error
    return ray


@contextmanager
def _connected(ray: ModuleType) -> Iterator[None]:
    """As this program is already, or for a while."""
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(address="auto", log_to_driver=False, logging_level="error")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise VitqError(
            f"there is no Ray cluster here ({brief(error, 100)}); `ray start --head` starts one"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()
