"""A table of bits as text to edit: "4/4" for weight and activation, "4" where there is no weight."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import vitq_core as vq
from vitq_core.experiment import MAX_BITS, MIN_BITS

from .layer_grid import LayerGrid

BitsTable = dict[str, tuple[int | None, int]]
NUMBERS = re.compile(r"\s*(\d{1,3})\s*(?:/\s*(\d{1,3})\s*)?")
ALL = "all"


def to_cells(table: BitsTable, grid: LayerGrid) -> list[list[str]]:
    """Rows of the row's name and a text for each of ``grid.columns``, empty where there is no layer."""
    lines = grid.matrix({layer: _text(*pair) for layer, pair in table.items()}, empty="")
    return [[row, *texts] for row, texts in zip(grid.rows, lines, strict=True)]


def _text(weight: int | None, act: int) -> str:
    return str(act) if weight is None else f"{weight}/{act}"


def is_filled(cells: Sequence[Sequence[object]] | None) -> bool:
    """Gradio's empty table has cells too."""
    return any(text for row in cells or () for text in row)


def from_cells(cells: Sequence[Sequence[object]], grid: LayerGrid) -> BitsTable:
    """What :func:`to_cells` shows, after it was edited. Raises ValueError that names the first bad cell."""
    table: BitsTable = {}
    for row, *texts in cells:
        for column, text in zip(grid.columns, texts, strict=False):
            layer, text = grid.layers.get((str(row), column)), "" if text is None else str(text).strip()
            if layer is not None:
                table[layer] = parse_cell(text, layer in grid.weighted, f"{row} {column}")
            elif text:
                raise ValueError(f"{row} has no layer {column}: leave that cell empty.")
    missing = [layer for layer in grid.places if layer not in table]
    if missing:
        raise ValueError(f"The table lost its cell for {missing[0]}; fill it again.")
    return {layer: table[layer] for layer in grid.places}


def parse_cell(text: str, weighted: bool, where: str) -> tuple[int | None, int]:
    """``text`` as (weight bits or None, activation bits); one number stands for both."""
    found = NUMBERS.fullmatch(text)
    numbers = [int(number) for number in found.groups() if number] if found else []
    wanted = (1, 2) if weighted else (1,)
    if len(numbers) not in wanted or not all(MIN_BITS <= number <= MAX_BITS for number in numbers):
        kind = (
            f"weight/activation bits like 4/4, whole numbers from {MIN_BITS} to {MAX_BITS}"
            if weighted
            else f"one whole number from {MIN_BITS} to {MAX_BITS}, as it has no weight"
        )
        raise ValueError(f"{where}: write {kind}, not {text[:20]!r}.")
    return (numbers[0], numbers[-1]) if weighted else (None, numbers[0])


def set_many(table: BitsTable, grid: LayerGrid, row: str, column: str, text: str) -> BitsTable:
    """``table`` with ``text`` in every cell of ``row`` and ``column``; `ALL` stands for each of them.

    Where there is no weight the activation's number counts. Raises ValueError for bad text or no such cell.
    """
    chosen = [
        layer for layer, place in grid.places.items()
        if row in (ALL, place[0]) and column in (ALL, place[1])
    ]  # fmt: skip
    if not chosen:
        raise ValueError(f"{row} has no layer {column}.")
    weight, act = parse_cell(text.strip(), weighted=True, where="Bits")
    return table | {layer: (weight if layer in grid.weighted else None, act) for layer in chosen}


def to_json(table: BitsTable) -> str:
    return json.dumps({layer: list(pair) for layer, pair in table.items()}, indent=1)


def from_json(text: str) -> BitsTable:
    """Raises ValueError for what is no table of bits; whether it fits a model its cost says."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("This file is damaged or not JSON; upload a table downloaded here.") from error
    if not isinstance(found, Mapping) or not found:
        raise ValueError("This file holds no table {layer: [weight bits or null, activation bits]}.")
    return dict(vq.recipe("lrp", bits=found).bits)


def check_weights(table: BitsTable, grid: LayerGrid) -> None:
    """ValueError where a table that has all layers of the model gives weight bits to one without weights."""
    for layer, (weight, act) in table.items():
        if weight is not None and layer not in grid.weighted:
            raise ValueError(f"{layer} has no weights: give it [null, {act}], not [{weight}, {act}].")
