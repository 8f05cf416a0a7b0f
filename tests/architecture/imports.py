"""Every import of the project as the parser sees it, type-only ones too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Import:
    """``source`` and ``target``: dotted names of modules; ``target`` may be of another library."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source} imports {self.target}"


@cache
def files() -> dict[str, Path]:
    """{dotted name: file} of the engine, the studio and the script that starts it."""
    found = [*ROOT.glob("vitq_core/**/*.py"), *ROOT.glob("ui/**/*.py"), ROOT / "app.py"]
    return {_dotted(path): path for path in sorted(found)}


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports() -> tuple[Import, ...]:
    """Of every file, wherever in it they stand."""
    return tuple(item for name, path in files().items() for item in _of(name, path))


def _of(name: str, path: Path) -> Iterator[Import]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (Import(name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import(name, target) for target in _targets(node, package))


def _targets(node: ast.ImportFrom, package: str) -> set[str]:
    """The modules that ``from … import …`` reaches: submodules by their own names."""
    parts = package.split(".") if package else []
    parts = parts[: len(parts) - node.level + 1] if node.level else []
    module = ".".join([*parts, *([node.module] if node.module else [])])
    known = files()
    return {full if (full := f"{module}.{alias.name}") in known else module for alias in node.names}
