"""Runs that come with the studio, so that a first look at the trade-offs shows some."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from vitq_core.experiment.runs import RunRecord

STORED = Path(__file__).parents[1] / "stored" / "examples.json"
EXAMPLES = "examples"  # whose they are


@cache
def examples() -> tuple[RunRecord, ...]:
    """Newest first."""
    return tuple(map(RunRecord.from_json, json.loads(STORED.read_text())))


def store_examples(records: Sequence[RunRecord]) -> None:
    STORED.write_text(json.dumps([record.to_json() for record in records], separators=(",", ":")) + "\n")
