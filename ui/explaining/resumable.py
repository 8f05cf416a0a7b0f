"""Scoring that goes on where it was stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import vitq_core as vq
from vitq_core.experiment import vitq_home

from .scoring import Scoring

KEPT_STATES = 32


def state_file(scoring: Scoring, source_key: tuple) -> Path:
    """A file for every scoring; the oldest beyond KEPT_STATES are forgotten."""
    folder = vitq_home() / "importance"
    folder.mkdir(exist_ok=True)
    for old in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)[:-KEPT_STATES]:
        old.unlink(missing_ok=True)
    name = hashlib.sha256(repr((scoring, source_key)).encode()).hexdigest()[:24]
    return folder / f"{name}.json"


def resumed(make: Callable[[], vq.Importance], state: Path) -> vq.Importance:
    """`make()`, once more without its state where that was of another model or broken."""
    try:
        return make()
    except vq.Cancelled:
        raise
    except vq.VitqError:
        if not state.exists():
            raise
        state.unlink()
        return make()
