"""What the tables of docs/measurements.md are written with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def numbers(values: Iterable[int]) -> str:
    """Each once, in order."""
    return ", ".join(f"{value:,}" for value in sorted(set(values)))
