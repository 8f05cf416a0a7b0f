"""Behind `vitq allocate`: limits, the bits within them, and the recipe that has these."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vitq_core as vq
from vitq_core.experiment import MAX_BITS, MIN_BITS, given_path

from .bench import Bench
from .ending import reading_input
from .scores import calibration_pictures
from .working import Work

PAPER, BUDGET = "paper", "budget"


@dataclass(frozen=True)
class Limits:
    """Of one `method`. ValueError for limits of the other one, or none."""

    method: str
    bits: float | None
    size_mb: float | None
    gbops: float | None
    first_blocks: int | None

    def __post_init__(self) -> None:
        if self.method not in (PAPER, BUDGET):
            raise ValueError(f"--method is {PAPER} or {BUDGET}, got {self.method!r:.80}")
        if self.method == BUDGET and self.bits is self.size_mb is self.gbops is None:
            raise ValueError("a budget needs a limit: --bits 4, --size-mb 2 or --gbops 5")
        if self.bits is not None and not MIN_BITS <= self.bits <= MAX_BITS:
            raise ValueError(f"--bits is an average from {MIN_BITS} to {MAX_BITS}, got {self.bits:g}")
        if self.method == PAPER and self.bits is not None and self.bits != int(self.bits):
            raise ValueError(f"the paper's rule moves whole bits, so --bits must be whole, got {self.bits:g}")

    def given(self) -> dict[str, Any]:
        """For `vq.allocate_bits`."""
        others = {"size_mb": self.size_mb, "gbops": self.gbops, "first_blocks": self.first_blocks}
        given = {name: value for name, value in others.items() if value is not None}
        if self.bits is None:
            return given
        if self.method == PAPER:
            return {**given, "base_bits": int(self.bits)}
        return {**given, "avg_weight_bits": self.bits, "avg_act_bits": self.bits}


@dataclass(frozen=True)
class Allocated:
    bits: dict[str, tuple[int | None, int]]
    cost: vq.TableCost
    recipe: vq.Recipe

    def as_json(self) -> str:
        return json.dumps({layer: list(pair) for layer, pair in self.bits.items()}, indent=1) + "\n"


def allocated(
    work: Work,
    name: str,
    importance: Path,
    limits: Limits,
    recipe: str,
    data: str | None,
    pictures: int,
    seed: int,
    device: str | None,
) -> Allocated:
    """Raises ValueError for limits that cannot be met (it names the nearest), Ended for scores that do not
    fit.
    """
    scores = read_scores(importance)
    vq.RECIPES[recipe]
    model = Bench(work, name, device).model
    given: dict[str, Any] = {"progress": work.progress, "cancel": work.stop, **limits.given()}
    with reading_input():
        images = calibration_pictures(work, model, data, pictures, seed)
        if limits.method == BUDGET:
            given |= {"images": images, "recipe": vq.recipe(recipe, effort="none")}
        bits = vq.allocate_bits(scores, model, limits.method, **given)
        cost = vq.table_cost(bits, model, images)
    near = round(limits.bits or cost.avg_weight_bits)
    return Allocated(bits, cost, vq.recipe(recipe, near, near, bits, effort="none"))


def read_scores(file: Path) -> vq.Importance:
    """ValueError for what is none."""
    path = given_path(file, "--importance", "file")
    try:
        return vq.Importance.from_json(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"the scores {str(file)!r:.200} cannot be read; `vitq importance MODEL --out scores.json` "
            f"writes them"
        ) from error


def document(found: Allocated) -> dict[str, Any]:
    """JSON-ready."""
    return {"bits": found.bits, "cost": dict(found.cost), "recipe": json.loads(found.recipe.to_json())}
