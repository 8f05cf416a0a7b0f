"""Files that keep what was gathered, where nobody names one: a stopped command goes on from its own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from vitq_core.experiment import vitq_home

KEPT = 32


def own_state(command: str, *asked: Any) -> Path:
    """A file for every question; the oldest go."""
    folder = vitq_home() / command
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)
    return folder / f"{hashlib.sha256(repr(asked).encode()).hexdigest()[:24]}.json"
