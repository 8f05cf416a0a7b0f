"""What Tab offers. Names that only the engine knows are kept in a file, so that a shell need not wait for
torch.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from ..common.errors import StorageError
from ..common.home import vitq_home

FILE = "completion.json"
RUNS = "runs.sqlite"  # as the engine's store of runs calls it
PLACES = (
    "recipes",
    "exporters",
    "scoring",
    "models/catalogue.py",
    "passes",
    "quantizers",
)  # that register names


def models(incomplete: str) -> list[tuple[str, str]]:
    return _beginning(incomplete, _names()["models"])


def recipes(incomplete: str) -> list[tuple[str, str]]:
    return _beginning(incomplete, _names()["recipes"])


def formats(incomplete: str) -> list[tuple[str, str]]:
    return _beginning(incomplete, _names()["formats"])


def sources(incomplete: str) -> list[tuple[str, str]]:
    return _beginning(incomplete, _names()["sources"])


def efforts(incomplete: str) -> list[tuple[str, str]]:
    return _beginning(incomplete, _names()["efforts"])


def settings(incomplete: str) -> list[tuple[str, str]]:
    return _beginning(incomplete, _names()["settings"])


def runs(incomplete: str) -> list[tuple[str, str]]:
    """Ids and names, newest first; none where there is no store that can be read."""
    with (
        suppress(sqlite3.Error, OSError, StorageError),
        closing(sqlite3.connect(f"file:{vitq_home() / RUNS}?mode=ro", uri=True)) as file,
    ):
        found = file.execute(
            "SELECT id, name FROM runs WHERE owner = '' ORDER BY made DESC LIMIT 50"
        ).fetchall()
        return _beginning(incomplete, [["last", "the newest run"], *found])
    return []


def runs_or_models(incomplete: str) -> list[tuple[str, str]]:
    return [*runs(incomplete), *models(incomplete)]


def _beginning(incomplete: str, names: list) -> list[tuple[str, str]]:
    return [(name, title) for name, title in names if name.startswith(incomplete)]


def _names() -> dict[str, list]:
    """From the file, or, where code has changed since, from the engine."""
    stamp = _stamp()
    with suppress(OSError, StorageError, ValueError, LookupError, TypeError):
        kept = json.loads((vitq_home() / FILE).read_text())
        if kept["stamp"] == stamp:
            return kept["names"]
    names = _known()
    with suppress(OSError, StorageError):
        (vitq_home() / FILE).write_text(json.dumps({"stamp": stamp, "names": names}))
    return names


def _stamp() -> float:
    """When a place that registers names changed last."""
    root = Path(__file__).parents[1]
    found = [root / place for place in PLACES]
    files = [file for place in found for file in ([place] if place.is_file() else place.glob("*.py"))]
    return max((file.stat().st_mtime for file in files), default=0.0)


def _known() -> dict[str, list]:
    import vitq_core as vq
    from vitq_core.experiment import EFFORT_NAMES, SETTINGS, known_options

    options = {name: option.label for name, option in known_options().items()}
    return {
        "models": [(info.id, info.title) for info in vq.list_models()],
        "recipes": [(name, recipe.title) for name, recipe in vq.RECIPES.items()],
        "formats": [(name, each.title) for name, each in vq.EXPORTERS.items()],
        "sources": [(name, each.title) for name, each in vq.SOURCES.items()],
        "efforts": [(name, "") for name in EFFORT_NAMES],
        "settings": [
            (f"{name}=", label) for name, label in sorted({**dict.fromkeys(SETTINGS, ""), **options}.items())
        ],
    }
