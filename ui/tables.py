"""The per-site table."""

from collections.abc import Sequence
from typing import Any

HEADERS = ["Layer", "Tensor", "Role", "Quantizer", "Bits", "Effective", "Outliers %", "SQNR dB"]
TYPES = ["str", "str", "str", "str", "number", "number", "number", "number"]


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
