"""A module's error in words: the share of its output that is noise, in percent."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from vitq_core.experiment import RECONSTRUCTED, counted


def learned(row: Any) -> bool:
    """Whether the module is better than it was calibrated."""
    return row.outcome == RECONSTRUCTED


def change(row: Any) -> str:
    """`3.1 → 1.2 %`."""
    if not learned(row):
        return f"{share(row.error_before)} %, kept"
    return f"{share(row.error_before)} → {share(row.error_after)} %"


def share(error: float) -> str:
    """An error in percent, two digits."""
    percent = 100 * error
    return f"{percent:.2g}" if percent < 100 else f"{percent:.0f}"


def summary(rows: Sequence[Any], total: int) -> str:
    """What became of all modules, in sentences."""
    better = [row for row in rows if learned(row)]
    said = [f"{len(better)} of {counted(total, 'module')} improved{_typically(better)}."]
    if len(better) < len(rows):
        kept = len(rows) - len(better)
        said.append(f"{kept} came out no better and {'stays' if kept == 1 else 'stay'} as calibrated.")
        if kept > len(rows) / 2:
            said.append("More steps or more pictures may help.")
    if len(rows) < total:
        missed = total - len(rows)
        was, left = ("was", "is") if missed == 1 else ("were", "are")
        said.append(f"{missed} {was} not reached and {left} as calibrated.")
    return " ".join(said)


def _typically(better: Sequence[Any]) -> str:
    if not better:
        return ""
    fall = median(1 - row.error_after / max(row.error_before, 1e-30) for row in better)
    return f", typically by {100 * fall:.0f} %"
