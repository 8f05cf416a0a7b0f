"""Behind `vitq sweep` where many share it: the processes of torchrun, or the machines of a Ray cluster."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from vitq_core.experiment import vitq_home
from vitq_core.experiment.cells import Cell, Table, fill
from vitq_core.experiment.on_ray import fill_on_ray
from vitq_core.experiment.runs import Asked, RunRecord
from vitq_core.experiment.sweep import made, title_of

from . import naming
from .bench import EVERYBODY, Bench
from .sweeping import Cells, Swept
from .working import Work

SHELF = "sweeps"  # the folder in VITQ_HOME
ADDRESS = re.compile(r"auto|local|(ray://)?[\w.\-\[\]:]+:\d+")


def check_cluster(address: str | None) -> None:
    """ValueError for what is no address of a Ray cluster."""
    if address is not None and not ADDRESS.fullmatch(address):
        raise ValueError(f"--ray must be auto or an address such as 10.0.0.1:6379, got {address!r:.80}")


def swept_together(work: Work, wanted: Cells, ray: str | None) -> Swept:
    """The same as `swept`, run by run shared out. `ray`: the address of a cluster. The first process puts all
    runs among the studio's. Raises Cancelled; what is made by then is kept.
    """
    work.kept = "runs that are made are kept, and the same command goes on from there"
    runs = {title_of(cell.asked): cell for cell in wanted.cells if cell.asked is not None}
    known = _known(work, wanted.bench, [cell.asked for cell in runs.values()])
    missing = [cell.asked for title, cell in runs.items() if title not in known]
    table = _filled(work, wanted.bench, missing, ray)
    done = Swept(len(wanted.cells))
    for cell in wanted.cells:
        title = cell.asked and title_of(cell.asked)
        if title in known or title in table.results:
            done.made.append(_record(work, wanted.bench, cell.asked, table))
        else:
            done.failed.append((cell.title, table.failed.get(title, cell.refused)))
    return done


def _known(work: Work, bench: Bench, asked: Sequence[Asked]) -> set[str]:
    """The titles of runs that the first process has: everybody must leave out the same ones."""
    own = [title_of(each) for each in asked if bench.known(each)] if work.processes.first else None
    return set(json.loads(work.processes.share(None if own is None else json.dumps(own))))


def _filled(work: Work, bench: Bench, asked: Sequence[Asked], ray: str | None) -> Table:
    shelf = vitq_home() / SHELF
    if ray is not None:
        cells = [Cell(title_of(each), partial(made, each)) for each in asked]
        return fill_on_ray(cells, shelf, work.progress, work.stop, ray)
    cells = [Cell(title_of(each), _making(bench, each)) for each in asked]
    return fill(cells, shelf, work.processes, work.progress, work.stop)


def _making(bench: Bench, asked: Asked) -> Callable[[], dict[str, Any]]:
    return lambda: bench.unkept(asked, lambda share, said: None).record.to_json()


def _record(work: Work, bench: Bench, asked: Asked, table: Table) -> tuple[RunRecord, bool]:
    """The run, and whether it was there before."""
    stored = table.results.get(title_of(asked))
    if stored is None:
        return bench.known(asked), True
    named = {"name": naming.name_of(asked), "settings": naming.settings_of(asked)}
    record = replace(RunRecord.from_json(stored), owner=EVERYBODY, **named)
    if work.processes.first and bench.known(asked) is None:
        bench.store.add(record)
    return record, False
