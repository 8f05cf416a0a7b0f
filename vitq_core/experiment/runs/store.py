"""Runs in the database: kept, found, renamed, deleted, and as a table for other programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .database import Database
from .record import RunRecord
from .results import BITS

PLAIN = ("id", "key", "owner", "name", "made", "task")
AS_JSON = ("asked", "made_of", "results", "seconds", "settings")
COLUMNS = ", ".join((*PLAIN, *AS_JSON))
LONGEST_NAME = 200


class RunStore(Database):
    """All runs. Every method raises StorageError where the file cannot be read or written."""

    def add(self, record: RunRecord) -> None:
        """One of the same `id` is replaced."""
        plain = [getattr(record, name) for name in PLAIN]
        content = [record.asked.as_dict(), *(dict(getattr(record, name)) for name in AS_JSON[1:])]
        values = [*plain, *(json.dumps(each) for each in content)]
        marks = ", ".join("?" * len(values))
        with self.opened() as connection:
            connection.execute(f"INSERT OR REPLACE INTO runs ({COLUMNS}) VALUES ({marks})", values)

    def get(self, run_id: str) -> RunRecord | None:
        """None where there is none."""
        return next(self._read("WHERE id = ?", [run_id]), None)

    def find(self, key: str, owners: Sequence[str] = ("",)) -> RunRecord | None:
        """The newest run of these `owners` that gave the numbers of `key`."""
        return next(self._read(f"WHERE key = ? AND {_among(owners)}", [key, *owners]), None)

    def all(self, owners: Sequence[str] = ("",)) -> list[RunRecord]:
        """Newest first; of everybody's and one's own where both are named."""
        return list(self._read(f"WHERE {_among(owners)}", owners))

    def rename(self, run_id: str, name: str, owner: str = "") -> bool:
        """Whether there was such a run of this `owner`. ValueError for an empty or endless name."""
        if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME:
            raise ValueError(f"a run's name has 1 to {LONGEST_NAME} characters, got {name!r:.80}")
        return self._change("UPDATE runs SET name = ?", [name.strip()], run_id, owner)

    def delete(self, run_id: str, owner: str = "") -> bool:
        """Whether there was such a run of this `owner`."""
        return self._change("DELETE FROM runs", [], run_id, owner)

    def _change(self, what: str, values: list[Any], run_id: str, owner: str) -> bool:
        with self.opened() as connection:
            done = connection.execute(f"{what} WHERE id = ? AND owner = ?", [*values, run_id, owner])
            return done.rowcount > 0

    def _read(self, where: str, values: Sequence[Any]) -> Iterator[RunRecord]:
        with self.opened() as connection:
            rows = connection.execute(
                f"SELECT {COLUMNS} FROM runs {where} ORDER BY made DESC, id", values
            ).fetchall()
        for row in rows:
            record = _record(row)
            if record is not None:
                yield record


def as_csv(records: Sequence[RunRecord]) -> str:
    """A line each, with what was asked and measured in columns of their own."""
    rows = [_flat(record) for record in records]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _among(owners: Sequence[str]) -> str:
    return f"owner IN ({', '.join('?' * len(owners))})"


def _record(row: Sequence[Any]) -> RunRecord | None:
    """None for what a program of another time has written, in which a recipe means something else."""
    found = dict(zip((*PLAIN, *AS_JSON), row, strict=True))
    try:
        content = {name: json.loads(found[name]) for name in AS_JSON}
        return RunRecord.from_json({**found, **content})
    except ValueError:
        return None


def _flat(record: RunRecord) -> dict[str, Any]:
    asked = record.asked
    numbers = {"calibration": asked.calibration, "judged": asked.judged, "seed": asked.seed}
    bits = {"weight_bits": asked.recipe.weight_bits, "act_bits": asked.recipe.act_bits}
    head = {name: getattr(record, name) for name in ("id", "name", "task", "model", "made")}
    numbers_found = {name: value for name, value in record.results.items() if name != BITS}
    leaves = dict(_leaves("", {**numbers_found, "seconds": record.seconds}))
    return {**head, "recipe": asked.recipe.name, **bits, **numbers, **leaves}


def _leaves(prefix: str, content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Of a measure [value, standard error] both, the latter as `<measure>.error`."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _leaves(f"{prefix}{name}.", value)
        elif isinstance(value, (list, tuple)):
            yield from zip((f"{prefix}{name}", f"{prefix}{name}.error"), value, strict=True)
        else:
            yield f"{prefix}{name}", value
