"""From the relevance page's values to scores, bits and a run."""

import pytest

from ui.parts.method_options import methods
from ui.relevance import settings as page

GOOD = {
    "model": "demo-vit",
    "scored": 64,
    "calibration": 32,
    "held_out": 256,
    "seed": 0,
    "pictures": "own",
    "folder": "",
    "uploads": None,
    "importance": "relevance",
    "policy": "paper",
    "base_weight": 4,
    "base_act": 4,
    "first_blocks": 2,
    "reductions": True,
    "avg_weight_bits": "",
    "avg_act_bits": "",
    "size_mb": "",
    "gbops": "",
    "method": "lrp",
}
BUDGET = {**GOOD, "policy": "budget", "avg_weight_bits": "4"}


def test_the_page_opens_with_values_that_work():
    for problems in (page.score_problems, page.bits_problems, page.run_problems, page.gallery_problems):
        assert problems(GOOD) == {}
    assert page.allocation_of(GOOD) == {
        "policy": "paper", "base_bits": (4, 4), "first_blocks": 2, "reductions": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"), [("scored", 0), ("scored", None), ("importance", "x"), ("seed", -1), ("model", "x")]
)
def test_what_decides_scores_is_checked(field, value):
    found = page.score_problems({**GOOD, field: value})
    assert list(found) == [field]
    assert found[field].endswith(".")


def test_the_papers_policy_does_itself_what_nothing_is_said_about():
    assert page.allocation_of({**GOOD, "first_blocks": None, "reductions": False}) == {
        "policy": "paper", "base_bits": (4, 4), "reductions": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [("base_weight", 9), ("base_act", None), ("first_blocks", -1), ("reductions", "perhaps")],
)
def test_what_decides_bits_is_checked(field, value):
    assert list(page.bits_problems({**GOOD, field: value})) == [field]


@pytest.mark.parametrize("value", ["0", "-1", "many", "nan", "inf", "1e999", "4,5"])
def test_a_limit_is_a_number_above_0(value):
    assert list(page.bits_problems({**BUDGET, "size_mb": value})) == ["size_mb"]
    assert page.bits_problems({**GOOD, "size_mb": value}) == {}


def test_a_budget_needs_a_limit_and_keeps_those_given():
    assert page.bits_problems({**BUDGET, "avg_weight_bits": " "}) == {
        "avg_weight_bits": "Give at least one limit."
    }
    assert page.allocation_of({**BUDGET, "size_mb": " 2.5 "}) == {
        "policy": "budget", "avg_weight_bits": 4.0, "size_mb": 2.5,
    }  # fmt: skip


@pytest.mark.parametrize(("field", "value"), [("method", "x"), ("held_out", 0), ("calibration", 1e9)])
def test_what_decides_a_run_is_checked(field, value):
    assert list(page.run_problems({**GOOD, field: value})) == [field]


def test_a_run_has_exactly_the_tables_bits():
    table = {"blocks.0.attn.qkv": (5, 3), "blocks.0.attn.matmul1": (None, 6)}
    settings = page.run_of(GOOD, table)
    assert settings.engine_recipe().bits == table
    assert settings.bits == "mixed bits"
    assert settings.slug == "demo-vit-lrp-mixed"
    assert hash(settings) == hash(page.run_of(dict(GOOD), dict(table)))


@pytest.mark.parametrize("method", methods())
def test_every_method_takes_a_table(method):
    assert page.run_of({**GOOD, "method": method}, {"head": (4, 4)}).engine_recipe().name == method
