"""Behind `vitq sweep`: which runs, and making those that are not there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import vitq_core as vq
from vitq_core.experiment.measure import Progress, part_of
from vitq_core.experiment.runs import Asked, RunRecord

from .asking import asked_for
from .bench import Bench
from .many import split
from .output import table
from .recipes import chosen_recipe, usual_recipe
from .report import HEADS, document, row
from .working import Work

BITS, SEEDS = ("8", "6", "4", "3", "2"), ("0",)
PAIR = re.compile(r"w(\d+)a(\d+)|(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Cell:
    """`asked`: None where the method cannot be had so; `refused` then says why."""

    title: str
    asked: Asked | None
    refused: str = ""


@dataclass
class Swept:
    """`made`: the runs, each with whether it was there before."""

    total: int
    made: list[tuple[RunRecord, bool]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        runs = [{**document(record), "known": known} for record, known in self.made]
        return {"runs": runs, "failed": [{"run": title, "error": said} for title, said in self.failed]}

    def text(self) -> str:
        rows = [(*row(record), "was there" if known else "made") for record, known in self.made]
        failed = [f"failed: {title}: {said}" for title, said in self.failed]
        return "\n".join([*([table(rows, (*HEADS, "")) if rows else ""]), *failed]).strip()


@dataclass(frozen=True)
class Cells:
    bench: Bench
    cells: Sequence[Cell]


def cells_of(
    work: Work,
    model: str,
    recipes: Sequence[str] | None,
    bits: Sequence[str] | None,
    seeds: Sequence[str] | None,
    data: str | None,
    calibration: int | None,
    judged: int | None,
    effort: str | None,
    settings: Sequence[str] | None,
    device: str | None,
) -> Cells:
    """Everything is checked here; only what a single method refuses is said at its run."""
    pairs = [_pair(each) for each in split(bits) or BITS]
    numbers = [_seed(each) for each in split(seeds) or SEEDS]
    names = split(recipes)
    for name in names:
        vq.RECIPES[name]
    for weight, act in pairs:
        vq.recipe("minmax", weight, act)
    bench = Bench(work, model, device)
    task = bench.model.info.task
    cells = []
    for name, (weight, act), seed in product(names or [usual_recipe(task)], pairs, numbers):
        title = f"{name} W{weight}/A{act}" + (f" seed {seed}" if len(numbers) > 1 else "")
        try:
            recipe = chosen_recipe(task, name, weight, act, effort, settings)
        except ValueError as error:
            cells.append(Cell(title, None, str(error)))
        else:
            asked = asked_for(bench.model, model, recipe, data, calibration, judged, seed)
            cells.append(Cell(title, asked))
    asked = [cell.asked for cell in cells if cell.asked is not None]
    if not asked:
        raise ValueError(cells[0].refused)
    bench.check(asked[0])
    return Cells(bench, cells)


def _pair(said: str) -> tuple[int, int]:
    """`4` or `w4a8`."""
    found = PAIR.fullmatch(said)
    if found is None:
        raise ValueError(f"--bits takes numbers from 2 to 8, or two of them as w4a8, got {said!r:.80}")
    weight, act, both = found.groups()
    return int(weight or both), int(act or both)


def _seed(said: str) -> int:
    if not said.isdecimal():
        raise ValueError(f"--seeds takes whole numbers from 0 on, got {said!r:.80}")
    return int(said)


def swept(work: Work, wanted: Cells) -> Swept:
    """One after the other. Raises Cancelled; what is made by then is kept."""
    done = Swept(len(wanted.cells))
    for number, cell in enumerate(wanted.cells):
        there = f"{len(done.made)} of {done.total} runs are there"
        work.kept = f"{there}, and the same command goes on from there"
        try:
            if cell.asked is None:
                raise ValueError(cell.refused)
            progress = _named(work.progress, number / done.total, (number + 1) / done.total, cell.title)
            made = wanted.bench.make(cell.asked, progress)
            done.made.append((made.record, made.known))
        except vq.Cancelled:
            raise
        except (ValueError, vq.VitqError) as error:
            done.failed.append((cell.title, str(error)))
    return done


def _named(progress: Progress, begin: float, end: float, title: str) -> Progress:
    """Of one run among many."""
    part = part_of(progress, begin, end)
    return lambda fraction, message: part(fraction, f"{title}: {message}")
