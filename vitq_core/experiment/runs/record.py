"""What is kept of one run."""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ...common.digests import digest_of
from ...common.records import Record
from ...models import Model
from ...quantized.result import QuantizeResult
from ..run import Measured, Reference
from ..samples import Source
from .asked import Asked
from .results import measures_of, results_of

LIBRARIES = ("torch", "torchvision", "timm", "segment-anything", "numpy", "pillow")


@dataclass(frozen=True)
class RunRecord(Record):
    """`key`: the same for runs that give the same numbers. `owner`: whose it is; empty, everybody's.

    `task` as in `ModelInfo`. `made_of`: SHA-256 of weights and pictures, preprocessing, versions.
    `results`: sizes in MB (10⁶ bytes), `bits` of every layer, `gbops`, and what was measured, `full` and
    `quantized`, each a mapping. `seconds`: what the run took, by part. `settings`: whatever a program that
    made it needs to show it. `made`: seconds since 1970.
    """

    key: str
    name: str
    task: str
    asked: Asked
    made_of: Mapping[str, Any]
    results: Mapping[str, Any]
    seconds: Mapping[str, float]
    settings: Mapping[str, Any] = field(default_factory=dict)
    owner: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    made: float = field(default_factory=time.time)

    @property
    def model(self) -> str:
        return self.asked.model

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; :meth:`from_json` gives an equal one back."""
        return {**dict(self), "asked": self.asked.as_dict()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> RunRecord:
        """ValueError for what a program of another time has written: a recipe means something else there."""
        return cls(**{**stored, "asked": Asked.from_dict(stored["asked"])})

    def for_owner(self, owner: str) -> RunRecord:
        """The same as somebody else's run."""
        return replace(self, owner=owner, id=secrets.token_hex(6), made=time.time())


def record_of(
    asked: Asked,
    model: Model,
    pictures: tuple,
    digest: str,
    result: QuantizeResult,
    measured: Mapping[str, Mapping[str, Any]],
    seconds: float,
    **shown: Any,
) -> RunRecord:
    """Of a run that has just ended. `pictures`: the key of their source, `digest`: SHA-256 of those read.

    `measured` as in :func:`results_of`; `shown`: the record's `name`, `owner` and `settings`.
    """
    weights = digest_of(model.module.state_dict())
    made_of = {
        "weights": weights,
        "source": model.info.source,
        "pictures": digest,
        "preprocessing": str(model.preprocessing),
        "versions": versions(),
    }
    return RunRecord(
        key=asked.key(weights, pictures),
        task=model.info.task,
        asked=asked,
        made_of=made_of,
        results=results_of(result, measured),
        seconds={"quantize": result.report.seconds, "all": seconds},
        **{"name": asked.model, **shown},
    )


def record_of_answers(
    asked: Asked,
    model: Model,
    source: Source,
    reference: Reference,
    measured: Measured,
    seconds: float,
    **shown: Any,
) -> RunRecord:
    """:func:`record_of` for a model that takes a picture alone."""
    found = {"full": measures_of(reference.evaluation), "quantized": measures_of(measured.evaluation)}
    digest = f"{measured.digest} {reference.digest}"
    return record_of(asked, model, source.key, digest, measured.result, found, seconds, **shown)


def versions() -> dict[str, str]:
    """Of what the numbers may depend on."""
    return {"python": platform.python_version(), **{name: _version(name) for name in LIBRARIES}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
