"""Rows of the papers' tables: each can be run, and prints what its paper does."""

import pytest

from vitq_core.experiment.reproduce import IDS, TABLES, Row
from vitq_core.recipes.recipe import Recipe, Use

ROWS = [pytest.param(row, id=f"{name}: {row.key}") for name, table in TABLES.items() for row in table.rows]


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_a_recipe_of_its_width(row: Row) -> None:
    made = row.made()
    assert isinstance(made, Recipe) and (made.weight_bits, made.act_bits) == (row.bits, row.bits)
    made.plan()


@pytest.mark.parametrize("row", ROWS)
def test_what_is_published_is_a_percentage_of_a_known_model(row: Row) -> None:
    assert set(row.published) <= set(IDS) and all(0 <= number <= 100 for number in row.published.values())


@pytest.mark.parametrize("name", sorted(TABLES))
def test_the_rows_of_a_table_have_keys_of_their_own(name: str) -> None:
    table = TABLES[name]
    assert len({row.key for row in table.rows}) == len(table.rows) > 0
    assert table.title and table.about.endswith(".") and set(table.models) <= set(IDS)


def test_numbers_that_the_papers_are_known_for_stand_where_they_belong() -> None:
    main = {row.key: row.published for row in TABLES["1"].rows}
    assert main["RepQ-ViT W4/A4"]["DeiT-S"] == 69.03 and main["LRP-QViT W4/A4"]["Swin-S"] == 81.37
    assert main["Ranking W6/A6"]["DeiT-S"] == 74.58 and "ViT-S" not in main["Ranking W6/A6"]
    gained = {row.key: row.published.get("ViT-B") for row in TABLES["adfq"].rows}
    assert gained["ADFQ-ViT W4/A4"] - gained["RepQ-ViT W4/A4"] == pytest.approx(10.23)


def test_a_rule_of_its_own_stands_in_the_place_of_rescaling() -> None:
    rows = {row.title: row.made() for row in TABLES["3"].rows}
    assert rows["layer-wise"].rules["post_layernorm"] == Use("uniform")
    assert rows["channel-wise"].rules["post_layernorm"] == Use("uniform", {"axis": -1})
    assert rows["layer-wise"].passes == rows["channel-wise"].passes == ("calibrate",)
    assert "reparameterize_mean" in rows["RepQ-ViT"].passes and "reparameterize_clip" in rows["CRL"].passes


def test_the_policy_of_bits_is_what_the_row_says() -> None:
    for name, lowered in (("4", False), ("5", True)):
        for count, row in enumerate(TABLES[name].rows, start=1):
            options = row.made().options
            assert (options.first_blocks or 2, options.reductions) == (count, lowered)
