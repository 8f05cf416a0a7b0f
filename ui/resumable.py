"""Scoring that says how far it is and goes on where it was stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from torch import Tensor

import vitq_core as vq
from vitq_core.home import vitq_home

from .measure import Batches, Progress
from .relevance_settings import Scoring

KEPT_STATES = 32


class Watched:
    """Batches that know how far they were read: the engine cannot know how many will come."""

    def __init__(self, batches: Batches, progress: Progress | None):
        self.batches, self.progress, self.share = batches, progress, 0.0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index, batch in enumerate(self.batches):
            self.share = (index + 1) / len(self.batches)
            yield batch

    def report(self, done: float, message: str) -> None:
        if self.progress is not None:
            total = len(self.batches.samples)
            self.progress(max(done, self.share), f"{message}; {total} in all")


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
