"""The cells of a table for some models: their keys, the work behind each, and the table that they fill."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..measure import Cancel, Progress
from .measuring import Asked, Subject
from .subjects import column_of
from .tables import Row, Table

FULL = "full precision"
Opener = Callable[[str], Subject]  # a model's name → it, with its pictures
Work = Callable[[Progress | None, Cancel | None], dict[str, Any]]


@dataclass(frozen=True)
class TableCell:
    """``key``: the same for work that gives the same numbers, and a name of a file."""

    model: str
    row: Row | None  # None: full precision
    key: str
    work: Work

    @property
    def title(self) -> str:
        return f"{column_of(self.model)}, {self.row.key if self.row else FULL}"


def cells_of(
    table: Table, models: Sequence[str], open_subject: Opener, asked: Asked, about: str
) -> list[TableCell]:
    """Full precision first, then row by row, model by model. ``open_subject`` is called where a model's first
    cell is measured; ``about``: what else decides the numbers, such as the pictures."""
    found = []
    for model in models:
        opened = _Once(model, open_subject)
        found.append(_cell(model, None, asked, about, opened))
        found += [_cell(model, row, asked, about, opened) for row in table.rows]
    return found


class _Once:
    """The subject of a column, which is opened when it is needed and kept while its column is measured."""

    kept: _Once | None = None  # one model is in memory at a time

    def __init__(self, model: str, open_subject: Opener) -> None:
        self._model, self._open, self._subject = model, open_subject, None

    def __call__(self) -> Subject:
        if self._subject is None:
            if _Once.kept is not None:
                _Once.kept._subject = None
            self._subject, _Once.kept = self._open(self._model), self
        return self._subject


def _cell(model: str, row: Row | None, asked: Asked, about: str, opened: _Once) -> TableCell:
    def work(progress: Progress | None = None, cancel: Cancel | None = None) -> dict[str, Any]:
        subject = opened()
        return subject.full(progress, cancel) if row is None else subject.row(row, progress, cancel)

    decides = [column_of(model), row and [row.key, row.made(**asked.options).to_json(), row.generated], about]
    digest = hashlib.sha256(json.dumps([decides, asked.as_dict()], sort_keys=True).encode()).hexdigest()
    name = f"{column_of(model)} {row.key if row else FULL}"
    readable = "".join(letter if letter.isalnum() else "-" for letter in name)
    return TableCell(model, row, f"{readable}-{digest[:12]}", work)


@dataclass(frozen=True)
class Entry:
    """``measured``, ``published``: top-1 in percent, None where there is none. ``result``: all that was
    measured, None for what is missing yet."""

    model: str
    row: Row | None
    published: float | None
    result: Mapping[str, Any] | None

    @property
    def refused(self) -> str | None:
        """Why the method refused the model or the bits."""
        return None if self.result is None else self.result.get("refused")

    @property
    def measured(self) -> float | None:
        top1 = None if self.result is None else self.result.get("top1")
        return None if top1 is None else 100 * top1

    @property
    def deviation(self) -> float | None:
        """Points above what the paper prints."""
        known = self.measured is not None and self.published is not None
        return self.measured - self.published if known else None


def entries(
    table: Table, cells: Sequence[TableCell], results: Mapping[str, Mapping[str, Any]]
) -> Iterator[Entry]:
    """``results``: by the cells' keys."""
    for cell in cells:
        numbers = table.full if cell.row is None else cell.row.published
        column = column_of(cell.model)
        yield Entry(column, cell.row, numbers.get(column), results.get(cell.key))
