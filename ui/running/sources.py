"""Results that exports are made of, whichever page makes them: each brings a source of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import vitq_core as vq
from vitq_core.experiment.measure import Progress

from ..parts.jobs import Job

S, R = TypeVar("S"), TypeVar("R")


@dataclass(frozen=True)
class Published:
    """What a model card says of a result. `tested_on`, `calibrated_on`: in words, never a visitor's names."""

    result: vq.QuantizeResult
    evaluation: vq.Evaluation | None = None
    reference: vq.Evaluation | None = None
    tested_on: str = ""
    calibrated_on: str = ""


class Source(ABC, Generic[S, R]):
    """Results R by their settings S. Every R has ``settings`` and ``result``. ``tasks``: of their models."""

    tasks: tuple[str, ...]

    @abstractmethod
    def knows(self, kept: Mapping[str, Any]) -> bool:
        """Whether settings that were kept as JSON are of this kind."""

    @abstractmethod
    def found(self, settings: S) -> R | None:
        """One that is in memory."""

    @abstractmethod
    def made(self, settings: S, progress: Progress | None, job: Job) -> R:
        """Made where it is not. Raises vq.Cancelled, ValueError for one that cannot be made again."""

    @abstractmethod
    def batches(self, made: R, job: Job) -> Iterable:
        """The pictures that judged it, as its model takes them."""

    @abstractmethod
    def cards(self, made: R) -> str:
        """HTML: how it was judged."""

    @abstractmethod
    def asked(self, values: Mapping[str, Any]) -> S:
        """Settings by what a program sends: model, recipe, weight_bits, act_bits; the rest is as usual.
        Raises ValueError for what cannot be."""

    @abstractmethod
    def integer(self, settings: S) -> S:
        """Those of its integer form."""

    @abstractmethod
    def read(self, kept: Mapping[str, Any]) -> S:
        """Settings from JSON. Raises TypeError and ValueError for those of another version."""

    @abstractmethod
    def published(self, made: R) -> Published:
        """What a model card says of it."""

    def files(self, settings: S) -> tuple[str, ...]:
        """A visitor's own, which must stay while it is made."""
        return ()

    def keep(self, made: R, owner: str) -> None:
        """Among the visitor's runs."""
        return
