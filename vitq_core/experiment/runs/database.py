"""One SQLite file with a write-ahead log: safe with several programs and with a sudden end."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ...common.errors import StorageError
from ...common.home import vitq_home
from ...common.words import readable

FILE = "runs.sqlite"
FORMAT = 1
WAIT = 20.0  # seconds for another program that writes
# Of a run, `asked` to `settings` are JSON; of a plan, `wanted` is.
TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, key TEXT NOT NULL, owner TEXT NOT NULL, name TEXT NOT NULL, made REAL NOT NULL,
    task TEXT NOT NULL, asked TEXT NOT NULL, made_of TEXT NOT NULL, results TEXT NOT NULL,
    seconds TEXT NOT NULL, settings TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_key ON runs (key);
CREATE INDEX IF NOT EXISTS by_owner ON runs (owner, made);
CREATE TABLE IF NOT EXISTS plans (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, title TEXT NOT NULL, made REAL NOT NULL, state TEXT NOT NULL,
    wanted TEXT NOT NULL
);
"""


class Database:
    """`path` None: `runs.sqlite` under `VITQ_HOME`, asked for at every call."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        return self._path or vitq_home() / FILE

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """A transaction. Raises StorageError where the file cannot be read or written."""
        try:
            with closing(sqlite3.connect(self.path, timeout=WAIT, factory=_Connection)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                _prepare(connection)
                with connection:
                    yield connection
        except sqlite3.Error as error:
            raise StorageError(
                f"the runs in {self.path} cannot be read or written ({error}); move that file away, "
                "or set VITQ_HOME to another folder",
                f"stored runs cannot be read or written: {error}",
            ) from error


class _Connection(sqlite3.Connection):
    """Names of files and addresses may hold characters that are no text, which SQLite does not take."""

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        return super().execute(
            statement, [readable(value) if isinstance(value, str) else value for value in values]
        )


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the tables. sqlite3.DatabaseError where a newer program has written the file."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > FORMAT:
        raise sqlite3.DatabaseError(f"it is of format {found}, and this program knows {FORMAT}")
    if found < FORMAT:
        connection.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {FORMAT}; COMMIT;")
