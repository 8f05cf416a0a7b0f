"""Every registry has a test that goes through its entries, so that a new one is held to the contract."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from vitq_core.common.registry import Registry

from .imports import files

TESTS = Path(__file__).parents[1]


def registries() -> dict[str, Registry]:
    """{name of the variable: registry}, wherever in the engine it is made."""
    modules = (importlib.import_module(name) for name in files() if name.startswith("vitq_core"))
    return {
        name: value for module in modules for name, value in vars(module).items()
        if isinstance(value, Registry) and name.isupper()
    }  # fmt: skip


def test_there_are_registries() -> None:
    assert {"QUANTIZERS", "FAMILIES", "RECIPES", "PASSES", "SOURCES", "TASKS", "EXPORTERS"} <= set(
        registries()
    )


@pytest.mark.parametrize("name", sorted(registries()))
def test_a_test_goes_through_all_entries(name: str) -> None:
    through = re.compile(rf"parametrize\([^)]*\b{name}\b|params=[^)]*\b{name}\b")
    assert any(through.search(path.read_text()) for path in TESTS.rglob("test_*.py")), name


def test_nothing_is_decided_by_the_beginning_of_a_name() -> None:
    """Not of an entry's: ``startswith("reparameterize")`` would take in whatever comes to be called so."""
    entries = {entry for registry in registries().values() for entry in registry}
    for name, path in files().items():
        for found in re.findall(r"\.startswith\(\"([a-z_]{3,})\"\)", path.read_text()):
            assert not any(entry.startswith(found) for entry in entries), f"{name} asks for {found!r}"
