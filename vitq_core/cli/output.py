"""What a command prints: text for people, or one JSON document for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any


def show(document: Any, text: str, as_json: bool) -> None:
    """On stdout, and nothing else there."""
    said = json.dumps(plain(document), indent=1) if as_json else text
    sys.stdout.write(said.encode("utf-8", "replace").decode().rstrip("\n") + "\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """JSON-ready: a number that is not finite is null, as JSON has none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(each) for each in value]
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return str(value) if isinstance(value, Path) else value


def table(rows: Iterable[Sequence[Any]], heads: Sequence[str]) -> str:
    """Columns side by side, numbers to the right."""
    cells = [[*heads], *([_cell(each) for each in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    numeric = [all(_is_number(row[i]) for row in cells[1:]) for i in range(len(heads))]
    lines = [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    ]
    return "\n".join(lines)


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A line for each: what, and its value."""
    rows = [(name, value) for name, value in rows if value]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in rows)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.replace(".", "", 1).replace(",", "").replace("e", "").lstrip("-+").isdigit()
