"""The registry: a mapping whose unknown names are answered with the known ones."""

from collections.abc import Mapping

import pytest

from vitq_core.common.registry import Registry
from vitq_core.graph import FAMILIES
from vitq_core.quantizers import QUANTIZERS, Quantizer
from vitq_core.recipes.recipe import RECIPES


@pytest.fixture
def fruits() -> Registry[int]:
    fruits: Registry[int] = Registry("fruit")
    fruits.register("pear")(1)
    fruits.register("apple")(2)
    return fruits


def test_is_a_mapping_in_the_order_of_registration(fruits: Registry[int]) -> None:
    assert isinstance(fruits, Mapping)
    assert dict(fruits) == {"pear": 1, "apple": 2}
    assert list(fruits) == ["pear", "apple"]
    assert len(fruits) == 2
    assert "pear" in fruits
    assert "plum" not in fruits
    assert fruits.get("plum") is None
    assert fruits.get("plum", 3) == 3
    assert fruits.get("pear", 3) == 1


def test_unknown_name_is_answered_with_the_known_ones(fruits: Registry[int]) -> None:
    with pytest.raises(ValueError, match=r"^unknown fruit 'plum'; available: apple, pear$"):
        fruits["plum"]


def test_a_name_is_taken_once(fruits: Registry[int]) -> None:
    with pytest.raises(ValueError, match=r"^fruit 'pear' is registered twice$"):
        fruits.register("pear")(5)
    assert fruits["pear"] == 1


def test_the_decorator_gives_the_entry_back(fruits: Registry[int]) -> None:
    entry = object()
    assert fruits.register("plum")(entry) is entry


def test_the_engine_registers_itself_on_import() -> None:
    assert {"uniform", "log_sqrt2", "shift_log2", "per_patch_outlier"} <= set(QUANTIZERS)
    assert {"minmax", "percentile", "repq", "crl", "adfq"} <= set(RECIPES)
    assert "vit" in FAMILIES
    assert all(issubclass(entry, Quantizer) for entry in QUANTIZERS.values())
    assert all(RECIPES[name].name == name for name in RECIPES)
