"""Runs as points: what they cost against how good they are, and which of them no other one beats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import vitq_core as vq
from vitq_core.experiment.runs import Quality, RunRecord, quality_of

# What runs are compared by: {name: (what people read, unit)}.
COSTS = {
    "size": ("Size of the file", "MB"),
    "compute": ("Arithmetic per picture", "billion bit operations"),
    "time": ("Time to make it", "seconds"),
}


@dataclass(frozen=True)
class Point:
    """A run with its quality."""

    record: RunRecord
    quality: Quality

    def cost(self, name: str) -> float:
        """By a name of COSTS, in its unit."""
        if name == "time":
            return float(self.record.seconds["quantize"])
        return float(self.record.results["size_mb" if name == "size" else "gbops"])

    def full_cost(self, name: str) -> float | None:
        """Full precision's; None of the time, which it does not take."""
        found = {"size": "fp32_size_mb", "compute": "fp32_gbops"}
        return float(self.record.results[found[name]]) if name in found else None

    @property
    def method(self) -> str:
        recipe = self.record.asked.recipe
        return vq.RECIPES[recipe.name].title if recipe.name in vq.RECIPES else recipe.name

    @property
    def bits(self) -> str:
        results = self.record.results
        if self.record.asked.recipe.bits:
            return f"{results['avg_weight_bits']:.1f} / {results['avg_act_bits']:.1f} on average"
        return f"W{self.record.asked.recipe.weight_bits}/A{self.record.asked.recipe.act_bits}"


def points_of(records: Iterable[RunRecord], model: str) -> list[Point]:
    """Of the runs of one model that measured its quality, in their order."""
    return [
        Point(record, quality)
        for record in records
        if record.model == model and (quality := quality_of(record.task, record.results)) is not None
    ]


def comparable(points: Sequence[Point]) -> list[Point]:
    """Those judged as the first one is, by the same measure on the same pictures."""
    return [point for point in points if _judged(point) == _judged(points[0])]


def _judged(point: Point) -> tuple:
    asked = point.record.asked
    return point.quality.name, asked.judged, asked.pictures, point.record.made_of.get("pictures", "")[-64:]


def front(points: Sequence[Point], cost: str) -> list[Point]:
    """Those that no other point beats, in cost and quality at once; cheapest first."""
    best, kept = float("-inf"), []
    for point in sorted(points, key=lambda each: (each.cost(cost), -each.quality.value)):
        if point.quality.value > best:
            best = point.quality.value
            kept.append(point)
    return kept
