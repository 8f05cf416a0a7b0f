"""What formats share that hold graphs: a file for each, called one after the other."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

from ..quantized.result import QuantizeResult
from ..tasks import Task
from .base import Answer, Exporter
from .graphs import DIVISIONS, WHOLE, division_of


class GraphFormat(Exporter):
    """``suffixes``: of the files of one graph, first the one to be loaded. ``beside``: names of what else
    :meth:`write` may leave in a folder. In Python ``opening`` loads the file at ``{path}`` of one graph, and
    ``calling`` has it answer pictures."""

    suffixes: tuple[str, ...]
    beside: tuple[str, ...] = ()
    opening: str
    calling: str

    @property
    def files(self) -> tuple[str, ...]:
        divisions = (WHOLE, *DIVISIONS.values())
        return (*(name for each in divisions for name in self._names(each.names)), *self.beside)

    def parts_of(self, name: str) -> tuple[str, ...]:
        return tuple(each for each in self._names(self._graphs(name)) if each != name)

    def load(self, path: Path, task: Task) -> Answer:
        division = division_of(task)
        calls = {name: self.runner(path.with_stem(name)) for name in division.names}
        return lambda batch: division.answer(calls, batch, task)

    def lines(self, repo: str, name: str) -> str:
        graphs, suffix = self._graphs(name), self.suffixes[0]
        folder = f'snapshot_download("{repo}")'
        opened = self.opening.format(path=f'{folder} + "/{graphs[0]}{suffix}"')
        if len(graphs) > 1:
            each = self.opening.format(path=f'{folder} + f"/{{name}}{suffix}"')
            opened = f"({each} for name in {graphs})"
        imports = f"import {self.opening.partition('.')[0]}\nfrom huggingface_hub import snapshot_download"
        return f"{imports}\n{', '.join(graphs)} = {opened}"

    def how(self, result: QuantizeResult) -> str:
        division = division_of(result.model.vitq.prepared.task)
        files = {name: self.opening.format(path=f'"{name}{self.suffixes[0]}"') for name in division.names}
        code = "\n".join(f"    {name} = {opened}" for name, opened in files.items())
        return f"{code}\n{division.guide or f'    {self.calling}'}"

    def kernels(self, path: Path) -> int | None:
        found = [self.kernels_of(each) for each in self._loaded(path)]
        return None if None in found else sum(found)

    def seal(self, path: Path, certificate: dict[str, Any]) -> None:
        for each in self._loaded(path):
            self.seal_graph(each, certificate)

    def kernels_of(self, path: Path) -> int | None:
        """As :meth:`kernels`, of one graph."""
        return None

    @abstractmethod
    def seal_graph(self, path: Path, certificate: dict[str, Any]) -> None:
        """As :meth:`seal`, one graph."""

    def _names(self, graphs: tuple[str, ...]) -> list[str]:
        return [graph + suffix for graph in graphs for suffix in self.suffixes]

    def _graphs(self, name: str) -> tuple[str, ...]:
        """Of the model whose first graph lies in the file ``name``."""
        first = Path(name).stem
        return next((each.names for each in DIVISIONS.values() if each.names[0] == first), WHOLE.names)

    def _loaded(self, path: Path) -> list[Path]:
        return [path.with_stem(graph) for graph in self._graphs(path.name)]
