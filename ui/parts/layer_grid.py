"""Where a model's layers stand in a map: a row for each block, a column for each layer type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

OTHER = "other"  # the column of layers outside of the blocks: each has a row of its own


@dataclass(frozen=True)
class LayerGrid:
    """``places``: {layer: (row, column)} in the model's order; ``weighted``: the layers with a weight."""

    places: Mapping[str, tuple[str, str]]
    weighted: frozenset[str]

    @cached_property
    def rows(self) -> list[str]:
        return list(dict.fromkeys(row for row, _ in self.places.values()))

    @cached_property
    def columns(self) -> list[str]:
        """Layer types in the model's order, `OTHER` last."""
        found = dict.fromkeys(column for _, column in self.places.values())
        return sorted(found, key=lambda column: column == OTHER)

    @cached_property
    def layers(self) -> dict[tuple[str, str], str]:
        """{(row, column): layer}; a place without a layer is missing."""
        return {place: layer for layer, place in self.places.items()}

    def matrix(
        self, values: Mapping[str, object], columns: Sequence[str] | None = None, empty: object = None
    ) -> list[list[object]]:
        """``values`` {layer: value} as rows of ``columns``, ``empty`` where there is no layer or no value."""
        return [
            [values.get(self.layers.get((row, column)), empty) for column in columns or self.columns]
            for row in self.rows
        ]


def layer_grid(weighted: Mapping[str, bool], blocks: Sequence[str]) -> LayerGrid:
    """``weighted``: {layer: has it a weight?} in the model's order; ``blocks``: the names of its blocks."""
    places = {name: _place(name, blocks) for name in weighted}
    return LayerGrid(places, frozenset(name for name, has in weighted.items() if has))


def _place(name: str, blocks: Sequence[str]) -> tuple[str, str]:
    block = next((block for block in blocks if name.startswith(f"{block}.")), None)
    return (name, OTHER) if block is None else (block, name.removeprefix(f"{block}."))
