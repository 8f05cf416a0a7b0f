"""A table of a paper beside what was measured: at a terminal, as text, in a file."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vitq_core.experiment.reproduce import FULL, Entry

from .output import table
from .reproducing import Found

HEADS = ("model", "method", "bits", "top-1", "paper", "deviation", "like full", "seconds", "MB")
DEVIATION = HEADS.index("deviation")
NEAR, FAR = 0.5, 2.0  # points: what deviates by less is green, by more red
LEGEND = (
    "top-1 and paper: right answers in percent. deviation: points above the paper. like full: same answers "
    "as in full precision. MB: memory at its peak, above that of the model and its pictures."
)


def shown(found: Found) -> str:
    """For people; coloured at a terminal."""
    if sys.stdout.isatty():
        return _rich(found).file.getvalue()
    lines = table([_cells(entry) for entry in found.rows], HEADS)
    return "\n".join([_title(found), "", lines, "", *_notes(found)])


def saved(found: Found, path: Path) -> None:
    """As the file's ending says: .md, .html with colours, or .json."""
    kinds = {".md": _markdown, ".html": lambda found: _rich(found).export_html(inline_styles=True)}
    made = kinds.get(path.suffix.lower(), lambda found: json.dumps(found.document(), indent=1))
    path.write_text(made(found), encoding="utf-8")


def _title(found: Found) -> str:
    return f"{found.table.title}. {found.table.about}"


def _cells(entry: Entry) -> list[Any]:
    result = entry.result or {}
    agreement = result.get("agreement")
    bits = "32" if entry.row is None else f"W{entry.row.bits}/A{entry.row.bits}"
    memory = result.get("device_mb") or result.get("host_mb")
    return [
        entry.model, entry.row.title if entry.row else FULL, bits,
        "refused" if entry.refused else _number(entry.measured), _number(entry.published),
        _number(entry.deviation, "+.2f"), _number(agreement and 100 * agreement, ".1f"),
        _number(result.get("seconds"), ".1f"), _number(memory, ".0f"),
    ]  # fmt: skip


def _number(value: float | None, shape: str = ".2f") -> str | None:
    return None if value is None else format(value, shape)


def _notes(found: Found) -> Iterator[str]:
    yield LEGEND
    wanted = found.wanted
    if wanted.limit is not None:
        yield f"A trial on {wanted.limit} pictures: no number of the paper is to be expected."
    if wanted.random_weights:
        yield "The weights are random: what counts is time and memory."
    yield from dict.fromkeys(f"{e.row.key} refused: {e.refused}" for e in found.rows if e.refused)


def _markdown(found: Found) -> str:
    lines = [[each or "" for each in _cells(entry)] for entry in found.rows]
    rows = [f"| {' | '.join(line)} |" for line in [list(HEADS), ["---"] * len(HEADS), *lines]]
    return "\n".join([f"**{_title(found)}**", "", *rows, "", "\n\n".join(_notes(found)), ""])


def _rich(found: Found) -> Any:
    """What recorded the coloured table, and holds it as text."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(*HEADS, title=_title(found), title_justify="left", show_edge=False)
    for entry in found.rows:
        cells = [each or "-" for each in _cells(entry)]
        cells[DEVIATION] = f"[{_colour(entry.deviation)}]{cells[DEVIATION]}[/]"
        grid.add_row(*cells, end_section=entry.row is None)
    console = Console(file=io.StringIO(), record=True, force_terminal=True, width=max(110, _width()))
    console.print(grid)
    for note in _notes(found):
        console.print(note, highlight=False)
    return console


def _colour(deviation: float | None) -> str:
    if deviation is None:
        return "dim"
    return "green" if abs(deviation) <= NEAR else "red" if abs(deviation) > FAR else "yellow"


def _width() -> int:
    from shutil import get_terminal_size

    return get_terminal_size((110, 40)).columns
