"""A sweep: settings over seeds, each a run that is made once and kept, by any number of processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from ..common.monitor import Progress
from ..common.processes import ALONE, Group
from ..recipes.recipe import Recipe
from .cells import Cell, Table, fill
from .runs.asked import OWN, Asked
from .runs.record import RunRecord
from .runs.rerun import carry_out
from .runs.store import RunStore


@dataclass(frozen=True)
class Swept:
    """``records`` of the runs by title, ``failed``: the sentences of those that could not be made."""

    records: dict[str, RunRecord]
    failed: dict[str, str]


def settings_over_seeds(
    model: str,
    recipes: Iterable[Recipe],
    seeds: Iterable[int],
    calibration: int,
    judged: int,
    pictures: str = OWN,
    places: Sequence[str] = (),
) -> list[Asked]:
    """Every recipe, with its bits, once for each seed; the other values as in :class:`Asked`."""
    return [
        Asked(model, recipe, calibration, judged, seed, pictures, tuple(places))
        for recipe, seed in product(recipes, seeds)
    ]


def sweep_cells(asked: Iterable[Asked]) -> list[Cell]:
    """One for each run, called by its title and by everything that was asked; the same run is there once."""
    runs = {title_of(each): each for each in asked}
    return [Cell(title, partial(made, each)) for title, each in runs.items()]


def title_of(asked: Asked) -> str:
    """Readable, and different for runs that differ in anything."""
    recipe = asked.recipe
    bits = f"W{recipe.weight_bits}/A{recipe.act_bits}"
    return f"{asked.model} {recipe.name} {bits} seed {asked.seed} {asked.key('', asked.places)[:8]}"


def made(asked: Asked) -> dict[str, Any]:
    """The run's record, JSON-ready."""
    return carry_out(asked).to_json()


def sweep(
    asked: Iterable[Asked],
    folder: str | Path,
    processes: Group = ALONE,
    progress: Progress | None = None,
    cancel: object = None,
    store: RunStore | None = None,
) -> Swept:
    """Make every run once, shared out among all processes that name the same ``folder``: those of
    ``torchrun``, or plain ones on any machine that sees it. Killed, the same call goes on from there.

    The first worker puts all runs into ``store`` in the end (by default the studio's, which is no place for
    many machines at once). Raises as :func:`vitq_core.experiment.cells.fill` does.
    """
    table = fill(sweep_cells(asked), folder, processes, progress, cancel)
    return kept_in(store, table, processes)


def kept_in(store: RunStore | None, table: Table, processes: Group = ALONE) -> Swept:
    """The records of a table whose cells are runs, put into ``store`` by the first worker."""
    with processes.answering():
        records = {title: RunRecord.from_json(found) for title, found in table.results.items()}
        if processes.first:
            keeper = store or RunStore()
            for record in records.values():
                keeper.add(record)
    return Swept(records, table.failed)
