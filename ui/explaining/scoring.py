"""What decides the scores of a model's layers, and the scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import vitq_core as vq

from ..parts import settings
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


def pictured(values: Mapping[str, Any]) -> Scoring:
    """The model and the pictures that stand above the tabs. For values without `settings.problems`."""
    return Scoring(values["model"], seed=int(values["seed"]), **settings.places(values))


@dataclass(frozen=True)
class Scores:
    """Scores on the page. `scoring` is None where they were uploaded."""

    model: str
    importance: vq.Importance
    scoring: Scoring | None = None
