"""The rows of the tables: sites, and modules that were learned."""

from collections.abc import Sequence
from typing import Any

HEADERS = [
    "Layer",
    "Tensor",
    "Role",
    "Quantizer",
    "Bits",
    "With exact values",
    "Kept exact %",
    "Signal/noise dB",
]
TYPES = ["str", "str", "str", "str", "number", "number", "number", "number"]
MODULE_HEADERS = ["Module", "Before %", "After %", "Change %", "Steps", "Seconds", "Outcome"]
MODULE_TYPES = ["str", "number", "number", "number", "number", "number", "str"]


def site_rows(rows: Sequence[Any]) -> list[list[Any]]:
    return [
        [
            row.layer,
            row.tensor,
            row.role.replace("_", " "),
            row.quantizer.replace("_", " "),
            row.bits,
            _rounded(row.effective_bits, 2),
            _rounded(100 * (row.outlier_ratio or 0), 2),
            _rounded(row.sqnr_db, 1),
        ]
        for row in rows
    ]


def _rounded(number: float | None, digits: int) -> float | None:
    return None if number is None else round(float(number), digits)


def module_rows(rows: Sequence[Any]) -> list[list[Any]]:
    """What learning did to every module."""
    return [
        [
            row.unit,
            _rounded(100 * row.error_before, 3),
            _rounded(100 * row.error_after, 3),
            _rounded(100 * (row.error_after / max(row.error_before, 1e-30) - 1), 1),
            row.iterations,
            _rounded(row.seconds, 1),
            row.outcome,
        ]
        for row in rows
    ]
