"""The table of bits as text, and where layers stand in it."""

import pytest

from ui.parts import bits_table
from ui.parts.bits_table import ALL
from ui.parts.layer_grid import OTHER, LayerGrid, layer_grid

WEIGHTED = {
    "embed": True,
    "blocks.1.qkv": True,
    "blocks.1.matmul": False,
    "blocks.10.qkv": True,
    "blocks.10.matmul": False,
    "head": True,
}
TABLE = {
    "embed": (4, 8),
    "blocks.1.qkv": (5, 5),
    "blocks.1.matmul": (None, 5),
    "blocks.10.qkv": (3, 4),
    "blocks.10.matmul": (None, 3),
    "head": (4, 4),
}


@pytest.fixture
def grid() -> LayerGrid:
    return layer_grid(WEIGHTED, ["blocks.1", "blocks.10"])


def edited(grid: LayerGrid, row: int, column: int, text: object) -> list[list]:
    cells = bits_table.to_cells(TABLE, grid)
    cells[row][column] = text
    return cells


def test_rows_are_blocks_and_columns_types_in_the_models_order(grid):
    assert grid.rows == ["embed", "blocks.1", "blocks.10", "head"]
    assert grid.columns == ["qkv", "matmul", OTHER]
    assert bits_table.to_cells(TABLE, grid)[:2] == [["embed", "", "", "4/8"], ["blocks.1", "5/5", "5", ""]]


def test_cells_are_read_back_as_the_same_table_in_any_order_of_rows(grid):
    cells = bits_table.to_cells(TABLE, grid)
    assert bits_table.from_cells(cells, grid) == TABLE
    assert list(bits_table.from_cells(cells[::-1], grid)) == list(WEIGHTED)


@pytest.mark.parametrize("text", ["6/7", " 6 / 7 ", "6/ 7"])
def test_a_cell_may_have_spaces(grid, text):
    assert bits_table.from_cells(edited(grid, 1, 1, text), grid)["blocks.1.qkv"] == (6, 7)


def test_one_number_stands_for_both_and_numbers_count_as_text(grid):
    assert bits_table.from_cells(edited(grid, 1, 1, "6"), grid)["blocks.1.qkv"] == (6, 6)
    assert bits_table.from_cells(edited(grid, 1, 2, 6), grid)["blocks.1.matmul"] == (None, 6)


@pytest.mark.parametrize(
    "text", ["", None, "x", "9/4", "4/1", "4/4/4", "4.5/4", "-4/4", "4/", "１/4", "99999"]
)
def test_a_bad_cell_is_named_in_a_sentence(grid, text):
    with pytest.raises(ValueError, match=r"blocks\.1 qkv: write weight/activation bits like 4/4.*\.$"):
        bits_table.from_cells(edited(grid, 1, 1, text), grid)


def test_a_product_of_activations_has_one_number(grid):
    with pytest.raises(ValueError, match=r"blocks\.1 matmul: write one whole number"):
        bits_table.from_cells(edited(grid, 1, 2, "4/4"), grid)


def test_a_place_without_a_layer_stays_empty(grid):
    with pytest.raises(ValueError, match="embed has no layer qkv"):
        bits_table.from_cells(edited(grid, 0, 1, "4/4"), grid)


def test_a_lost_row_is_noticed(grid):
    with pytest.raises(ValueError, match="lost its cell for head"):
        bits_table.from_cells(bits_table.to_cells(TABLE, grid)[:-1], grid)


def test_many_cells_are_set_at_once(grid):
    column = bits_table.set_many(TABLE, grid, ALL, "matmul", "6/7")
    assert {layer for layer in TABLE if column[layer] != TABLE[layer]} == {
        "blocks.1.matmul",
        "blocks.10.matmul",
    }
    assert column["blocks.1.matmul"] == (None, 7)
    assert set(bits_table.set_many(TABLE, grid, ALL, ALL, "2").values()) == {(2, 2), (None, 2)}
    with pytest.raises(ValueError, match="has no layer"):
        bits_table.set_many(TABLE, grid, "head", "qkv", "4/4")
    with pytest.raises(ValueError, match="Bits: write"):
        bits_table.set_many(TABLE, grid, ALL, ALL, "nine")


def test_json_gives_the_table_back():
    assert bits_table.from_json(bits_table.to_json(TABLE)) == TABLE


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", "3", '{"a": 4}', '{"a": [9, 4]}', '{"a": [4]}', "[" * 100_000, '{"a": [4, NaN]}'],
)
def test_what_is_no_table_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        bits_table.from_json(text)


def test_gradios_empty_table_is_not_filled():
    assert not any(map(bits_table.is_filled, (None, [], [[]], [["", "", ""]], [[None]])))
    assert bits_table.is_filled([["a", ""]])
