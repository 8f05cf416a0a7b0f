"""Behind `vitq reproduce`: the cells that are asked for, measured or found, and the table they fill."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import vitq_core as vq
from vitq_core.experiment import checked_device, names_dataset, vitq_home
from vitq_core.experiment.cells import Cell, fill
from vitq_core.experiment.folders import check_pictures, folder_source, separate_source
from vitq_core.experiment.reproduce import (
    FULL,
    IDS,
    TABLES,
    Asked,
    Entry,
    Subject,
    Table,
    TableCell,
    cells_of,
    column_of,
    entries,
    load_subject,
)
from vitq_core.experiment.runs import GENERATED
from vitq_core.experiment.samples import Source, builtin_source

from .ending import FAILED, Ended, reading_input
from .output import plain
from .pictures import place_key, place_of
from .working import Work


@dataclass(frozen=True)
class Wanted:
    """What the command line was given."""

    table: str
    models: Sequence[str] | None
    methods: Sequence[str] | None
    data: str | None
    calibration_data: str | None
    limit: int | None
    calibration: int | None
    effort: str | None
    seed: int
    random_weights: bool
    results: Path | None
    device: str | None

    def asked(self) -> Asked:
        options = {} if self.effort is None else {"effort": self.effort}
        return Asked(self.limit, self.calibration, self.seed, options)

    def rows(self) -> Table:
        """The table with the rows that are wanted. ValueError for those that it does not have."""
        found = TABLES[self.table]
        if not self.methods:
            return found
        titles = list(dict.fromkeys(row.title for row in found.rows))
        for name in self.methods:
            if name.lower() not in map(str.lower, titles):
                raise ValueError(
                    f"table {self.table} has no row {name!r:.80}; available: {', '.join(titles)}"
                )
        kept = {name.lower() for name in self.methods}
        return replace(found, rows=tuple(row for row in found.rows if row.title.lower() in kept))

    def about(self) -> str:
        """What decides the numbers beside model, row and counts."""
        return json.dumps([place_key(self.data), place_key(self.calibration_data), self.random_weights])


@dataclass(frozen=True)
class Found:
    """The table with what was measured."""

    table: Table
    wanted: Wanted
    rows: tuple[Entry, ...]

    def document(self) -> dict[str, Any]:
        return {
            "table": self.wanted.table,
            "title": self.table.title,
            "random_weights": self.wanted.random_weights,
            "limit": self.wanted.limit,
            "seed": self.wanted.seed,
            "cells": [_described(entry) for entry in self.rows],
        }


def measured(work: Work, wanted: Wanted) -> Found:
    """Cell by cell; what is kept already is not measured again. Raises Cancelled."""
    asked, rows = wanted.asked(), wanted.rows()
    checked_device(wanted.device)
    _check_pictures(wanted)
    models = list(dict.fromkeys(wanted.models or rows.models))
    cells = cells_of(rows, models, lambda name: _subject(work, wanted, asked, name), asked, wanted.about())
    _check_models(work, wanted, models)
    folder = wanted.results or vitq_home() / "reproduce"
    work.kept = "what was measured is kept, and the same command goes on from there"
    results = _filled(work, cells, folder)
    return Found(rows, wanted, tuple(entries(rows, cells, results)))


def _check_pictures(wanted: Wanted) -> None:
    """Raises ValueError for places without any, before the first model is loaded."""
    if wanted.calibration_data is not None and wanted.data is None:
        raise ValueError("--calibration-data does nothing without --data, which is what judges")
    for place in (wanted.data, wanted.calibration_data):
        if place is not None:
            kind, _ = place_of(place, "classification")
            if kind == GENERATED:
                raise ValueError("made pictures judge nothing; name a folder or .zip of pictures")
            if not names_dataset(place):
                check_pictures(place)


def _check_models(work: Work, wanted: Wanted, models: Sequence[str]) -> None:
    """Raises ValueError for what names none; those that the catalogue has are loaded when they are needed."""
    known = {info.id for info in vq.list_models()}
    for name in models:
        if column_of(name) not in IDS and (wanted.random_weights or name not in known):
            with reading_input():
                load_subject(name, wanted.random_weights)


def _subject(work: Work, wanted: Wanted, asked: Asked, name: str) -> Subject:
    with reading_input():
        given = {"device": work.device(wanted.device)}
        if not wanted.random_weights:
            given |= {"progress": work.progress, "cancel": work.stop}
        model = load_subject(name, wanted.random_weights, wanted.seed, **given)
        return Subject(model, _source(wanted, model), asked)


def _source(wanted: Wanted, model: Any) -> Source:
    if wanted.calibration_data is not None:
        return separate_source(model, wanted.calibration_data, wanted.data)
    return builtin_source(model) if wanted.data is None else folder_source(model, wanted.data)


def _described(entry: Entry) -> dict[str, Any]:
    return plain(
        {
            "model": entry.model,
            "method": entry.row.title if entry.row else FULL,
            "bits": entry.row.bits if entry.row else 32,
            "top1": entry.measured,
            "published": entry.published,
            "deviation": entry.deviation,
            "refused": entry.refused,
            "result": entry.result,
        }
    )


def _filled(work: Work, cells: Sequence[TableCell], folder: Path) -> dict[str, Mapping[str, Any]]:
    """The results by key; what fails is told, and tried again the next time."""
    steps = _Steps(work, len(cells))
    named = [Cell(cell.key, partial(steps.measure, cell)) for cell in cells]
    table = fill(named, folder, work.processes, steps.counted, work.stop)
    titles = {cell.key: cell.title for cell in cells}
    for key, sentence in table.failed.items():
        work.say(f"{titles[key]}: {sentence}")
    if len(table.failed) == len(cells):
        raise Ended(FAILED, "no cell could be measured; the reasons are above")
    return table.results


class _Steps:
    """Progress over all cells, of which each is a part."""

    def __init__(self, work: Work, count: int) -> None:
        self._work, self._count, self._done = work, count, 0.0

    def counted(self, share: float, said: str) -> None:
        """Of cells that are there, whoever measured them."""
        self._done = share
        self._work.progress(share, said)

    def measure(self, cell: TableCell) -> dict[str, Any]:
        def heard(share: float | None, said: str) -> None:
            self._work.progress(self._done + (share or 0.0) / self._count, f"{cell.title}: {said}")

        return cell.work(heard, self._work.stop)
