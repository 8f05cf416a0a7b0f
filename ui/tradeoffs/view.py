"""The page's tables and pieces of HTML."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from typing import Any

from vitq_core.experiment import counted
from vitq_core.experiment.runs import RunRecord

from ..explaining.affording import Affordable
from ..parts import markup, steps
from ..parts.examples import EXAMPLES
from ..running.sweeps import Sweep
from .points import Point

HEADERS = ["Run", "Bits", "MB", "Quality", "Points lost", "Made", "Id"]
TYPES = ["str", "str", "number", "number", "number", "str", "str"]
NOTHING = "No run of this model yet. Press “Try 8, 6, 4, 3, 2 bits”: the chart fills in as they are made."
NO_CHOICE = (
    "Click on a row of the table, and what is known of that run appears here; click on two to compare."
)
LINE = "The dotted line is the Pareto front: no other run is better at the same cost."
SEVERAL = (
    "They were judged by other pictures than the newest run, so they are in the table, not in the chart."
)


def rows(points: Sequence[Point]) -> list[list[Any]]:
    """Of the table, in the points' order."""
    return [
        [
            point.record.name,
            point.bits,
            round(point.cost("size"), 3),
            round(point.quality.value, 4),
            round(point.quality.lost, 2),
            time.strftime("%m-%d %H:%M", time.gmtime(point.record.made)),
            point.record.id,
        ]
        for point in points
    ]  # fmt: skip


def drawn(left_out: int) -> str:
    """What the chart's line is, and how many runs it cannot show beside the newest."""
    return markup.note(f"{LINE} {counted(left_out, 'run')} not drawn. {SEVERAL}" if left_out else LINE)


def progress(sweep: Sweep) -> str:
    """How far a sweep is."""
    said = f"{sweep.ended} of {counted(sweep.total, 'run')} done"
    failed = " ".join(f"{wanted.get('title', 'A run')}: {text}" for wanted, text in sweep.failed)
    if sweep.state == "running":
        now = sweep.plan.wanted[min(sweep.ended, sweep.total - 1)].get("title", "")
        return markup.banner(
            "busy", f"{sweep.plan.title}: {said}", f"{now}: {sweep.said} ({sweep.share:.0%})."
        )
    if sweep.state == "stopped":
        return markup.banner(
            "stopped", f"{sweep.plan.title}: stopped, {said}", f"Press Go on. {failed}".strip()
        )
    kind = "warning" if sweep.failed else "done"
    return markup.banner(kind, f"{sweep.plan.title}: {said}", failed)


def details(points: Sequence[Point]) -> str:
    """One run, or two side by side."""
    if not points:
        return steps.waiting(NO_CHOICE)
    names = list(dict.fromkeys(name for point in points for name, _ in _facts(point)))
    facts = [dict(_facts(point)) for point in points]
    head = "".join(f"<th>{escape(point.record.name)}</th>" for point in points)
    body = "".join(_line(name, [each.get(name, "—") for each in facts]) for name in names)
    return f'<table class="vq-objects"><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>'


def _line(name: str, values: Sequence[str]) -> str:
    cells = "".join(f"<td>{escape(value)}</td>" for value in values)
    return f"<tr><th>{escape(name)}</th>{cells}</tr>"


def _facts(point: Point) -> list[tuple[str, str]]:
    record, results, asked = point.record, point.record.results, point.record.asked
    error = "" if point.quality.error is None else f" ± {point.quality.error:.4f}"
    measured = [
        (f"{name}, {who}", _number(value))
        for who in ("quantized", "full")
        for name, value in results.get(who, {}).items()
    ]
    return [
        (point.quality.title, f"{point.quality.value:.4f}{error}, {point.quality.lost:.2f} points lost"),
        ("Size", f"{results['size_mb']:.3f} MB of {results['fp32_size_mb']:.3f}"),
        (
            "Arithmetic per picture",
            f"{results['gbops']:.3f} of {results['fp32_gbops']:.3f} billion bit operations",
        ),
        (
            "Bits on average",
            f"{results['avg_weight_bits']:.2f} weights, {results['avg_act_bits']:.2f} activations",
        ),
        ("Method", f"{point.method}, {point.bits}"),
        ("Pictures", f"{asked.calibration} to measure ranges, {asked.judged} to test, seed {asked.seed}"),
        ("Weights", record.made_of.get("weights", "")[:16]),
        ("Test pictures", str(record.made_of.get("pictures", ""))[-64:][:16] or "—"),
        (
            "Made with",
            ", ".join(f"{name} {version}" for name, version in record.made_of.get("versions", {}).items()),
        ),
        ("Address", f"?run={record.id}, behind the studio's own, opens it"),
        _again(record),
        *measured,
    ]


def _again(record: RunRecord) -> tuple[str, str]:
    if record.owner == EXAMPLES:
        return "Where it is from", "it came with the studio"
    return "Run it again", f"python -m vitq_core.experiment.runs.rerun {record.id}"


def _number(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        mean, error = value
        return f"{mean:.4f}" + ("" if error is None else f" ± {error:.4f}")
    return str(value)


def afforded(found: Affordable, uniform_gbops: float, fp32_mb: float, guess: tuple[str, str]) -> str:
    """What a budget buys. `guess`: what is predicted, and how that is known."""
    cost, at_four = found.cost, f"{uniform_gbops:.2f}"
    smaller = f"{fp32_mb / cost.size_mb:.1f}× smaller than {fp32_mb:.2f} MB"
    made = (
        markup.card("Size", f"{cost.size_mb:.2f} MB", smaller),
        markup.card(
            "Bits on average", f"{cost.avg_weight_bits:.2f} / {cost.avg_act_bits:.2f}",
            "of weights / of activations, which get no more than the weights",
        ),
        markup.card("Arithmetic", f"{cost.gbops:.2f}", f"billion bit operations; {at_four} with 4 bits each"),
        markup.card("Predicted", *guess),
    )  # fmt: skip
    return f'<div class="vq-cards vq-four" aria-live="polite">{"".join(made)}</div>'
