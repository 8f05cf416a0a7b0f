"""What decides the scores of a model's layers, and the scores."""

from __future__ import annotations

from dataclasses import dataclass

import vitq_core as vq

from ..parts.markup import pictures


@dataclass(frozen=True)
class Scoring:
    """Everything that decides the scores; `Workbench.source` reads where the pictures come from."""

    model: str
    importance: str = "relevance"
    count: int = 64
    seed: int = 0
    pictures: str = "own"
    folder: str = ""
    uploads: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"{self.model} · {self.importance} · {pictures(self.count)}"


@dataclass(frozen=True)
class Scores:
    """Scores on the page. `scoring` is None where they were uploaded."""

    model: str
    importance: vq.Importance
    scoring: Scoring | None = None
