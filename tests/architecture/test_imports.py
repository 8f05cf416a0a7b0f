"""Imports point one way."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import vitq_core as vq

from .imports import Import, files, imports

# A package imports from the rows above its own, never from its own row or below.
ENGINE = (
    ("common",),
    ("pictures", "demo"),
    ("data", "quantizers", "tasks"),
    ("graph",),
    ("models", "recipes"),
    ("quantized",),
    ("prompting",),
    ("lrp",),
    ("scoring", "evaluation", "exporters", "generation"),
    ("allocation", "reconstruction", "publishing"),
    ("passes",),
    ("pipeline",),
    ("public", "experiment"),
    ("cli",),
    ("__main__",),
)
STUDIO = (
    ("parts",),
    ("learning",),
    ("running",),
    ("model_store",),
    ("explaining",),
    ("workbench", "publishing"),
    ("quantize", "tradeoffs", "activations", "relevance", "segment", "export"),
    ("another", "api", "examples", "opening", "warm_up"),
    ("studio",),
)


def test_imports_point_one_way() -> None:
    found = {*_upward("vitq_core", ENGINE), *_upward("ui", STUDIO), *_past_the_public_api(), *_hidden_names()}
    assert not found


def _upward(root: str, rows: tuple[tuple[str, ...], ...]) -> Iterator[str]:
    level = {name: index for index, row in enumerate(rows) for name in row}
    for item in imports():
        source, target = (_part(name, root) for name in (item.source, item.target))
        if not source or not target or source == target:
            continue
        if source not in level or target not in level:
            yield f"{root}.{source if source not in level else target} has no place in the order"
        elif level[source] <= level[target]:
            yield str(item)


def _part(name: str, root: str) -> str:
    """The package or file directly in ``root``; empty for ``root`` itself and for everything else."""
    head, _, rest = name.partition(".")
    return rest.partition(".")[0] if head == root else ""


def _past_the_public_api() -> Iterator[str]:
    """The studio knows the engine's public names and what an experiment is; the engine knows no studio."""
    public = ("vitq_core", "vitq_core.experiment")
    for item in imports():
        if item.source.split(".")[0] in ("ui", "app") and item.target.startswith("vitq_core."):
            if not item.target.startswith(public[1]):
                yield str(item)
        elif item.source.startswith("vitq_core") and item.target.split(".")[0] in ("ui", "gradio", "plotly"):
            yield str(item)


def _hidden_names() -> Iterator[str]:
    """A module whose package exports something of the same name cannot be imported as ``a.b as c``."""
    for name, path in files().items():
        if path.name != "__init__.py":
            continue
        package = importlib.import_module(name)
        for module in pkgutil.iter_modules(package.__path__):
            if not isinstance(getattr(package, module.name, None), type(package)) and hasattr(
                package, module.name
            ):
                yield f"{name}.{module.name} is hidden by what {name} exports"
            elif module.name in getattr(package, "__all__", ()) and package is vq:
                yield f"{name}.{module.name} is a module and a public name"


@pytest.mark.parametrize("item", [Import("vitq_core.common.files", "vitq_core.pipeline")], ids=str)
def test_an_import_upwards_is_found(item: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.imports", lambda: (item,))
    assert list(_upward("vitq_core", ENGINE)) == [str(item)]
