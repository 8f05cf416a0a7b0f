"""Plans: runs that somebody asked for, which are made one after the other, also after a restart."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .database import Database

RUNNING, STOPPED, DONE = "running", "stopped", "done"
STATES = (RUNNING, STOPPED, DONE)
COLUMNS = "id, owner, title, made, state, wanted"


@dataclass(frozen=True)
class Plan:
    """`wanted`: for each run what the program that makes it needs. `state`: one of STATES."""

    title: str
    wanted: tuple[Mapping[str, Any], ...]
    owner: str = ""
    state: str = RUNNING
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    made: float = field(default_factory=time.time)


class PlanStore(Database):
    """All plans. Every method raises StorageError where the file cannot be read or written."""

    def add(self, plan: Plan) -> None:
        """One of the same `id` is replaced."""
        values = (plan.id, plan.owner, plan.title, plan.made, plan.state, json.dumps(plan.wanted))
        with self.opened() as connection:
            connection.execute(f"INSERT OR REPLACE INTO plans ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", values)

    def all(self, state: str | None = None) -> list[Plan]:
        """Oldest first; those of one `state`, or every one."""
        return self._where("? IS NULL OR state = ? ORDER BY made, id", state, state)

    def get(self, plan_id: str) -> Plan | None:
        """None where there is none."""
        return next(iter(self._where("id = ?", plan_id)), None)

    def mark(self, plan_id: str, state: str) -> None:
        """ValueError for an unknown state."""
        if state not in STATES:
            raise ValueError(f"a plan is {', '.join(STATES)}, not {state!r:.80}")
        with self.opened() as connection:
            connection.execute("UPDATE plans SET state = ? WHERE id = ?", (state, plan_id))

    def _where(self, condition: str, *values: Any) -> list[Plan]:
        with self.opened() as connection:
            rows = connection.execute(f"SELECT {COLUMNS} FROM plans WHERE {condition}", values).fetchall()
        return [
            Plan(title, tuple(json.loads(wanted)), owner, state, plan_id, made)
            for plan_id, owner, title, made, state, wanted in rows
        ]
