"""`vitq runs`: the runs that studio and command line share."""

from __future__ import annotations

import pytest

from vitq_core.cli import kept
from vitq_core.cli.targets import find_run
from vitq_core.experiment.runs import RunStore

from .conftest import FEW


@pytest.fixture
def two(answered) -> list[str]:
    """Ids, older first."""
    return [answered("quantize", "demo-vit", *FEW, "--weight-bits", bits)["run"] for bits in ("8", "3")]


def test_newest_first(answered, two):
    assert [each["run"] for each in answered("runs", "list")] == two[::-1]
    assert [each["run"] for each in answered("runs", "list", "--limit", "1")] == two[1:]
    assert len(answered("runs", "list", "--model", "demo-vit")) == 2


def test_one_is_named_by_its_beginning(vitq, answered, two):
    for name in (two[0], two[0][:6]):
        assert answered("runs", "show", name)["run"] == two[0]
    assert answered("runs", "show", "last")["run"] == two[1]
    assert two[0] in vitq("runs", "show", two[0]).stdout
    assert find_run(two[0][:3]) is None  # too short to be meant


def test_two_side_by_side(answered, vitq, two):
    told = answered("runs", "compare", *two)
    assert any(line.startswith("size_mb") for line in told["differences"])
    assert any("recipe.weight_bits: 8 in the first, 3 in the second" in line for line in told["differences"])
    assert answered("runs", "compare", two[0], two[0])["differences"] == []
    assert "Every number is the same." in vitq("runs", "compare", two[0], two[0]).stdout


def test_deleted_is_gone_with_its_model(answered, two):
    key = RunStore().get(two[0]).key
    assert kept.place(key).is_dir()
    assert answered("runs", "delete", two[0])["deleted"] == [two[0]]
    assert [each["run"] for each in answered("runs", "list")] == two[1:] and not kept.place(key).exists()


def test_an_empty_store(vitq):
    assert "no runs yet" in vitq("runs", "list").stdout
