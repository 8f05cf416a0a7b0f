"""What a format owes: to say what it cannot hold, to write a file, and to answer pictures from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..common.batch import Batch
from ..common.errors import VitqError
from ..common.registry import Registry
from ..quantized.result import QuantizeResult
from ..tasks import Outputs, Task

Answer = Callable[[Batch], Outputs]
Call = Callable[..., tuple[Tensor, ...]]  # a graph's inputs, in their order → its outputs


@dataclass(frozen=True)
class Written:
    """``path``: the file to be loaded. Of the matrix products of the model ``promised`` have quantized inputs
    alone; in the file ``integer_nodes`` are of integers. None where a format multiplies no integers."""

    path: Path
    integer_nodes: int | None = None
    promised: int | None = None
    sentences: tuple[str, ...] = ()


class Exporter(ABC):
    """One for each format. ``needs``: the packages it takes beyond ours, as ``pip`` and as Python name them;
    ``aim``: what people take it for, in their words; empty where its title says that. ``files``: the names of
    all that :meth:`write` may leave in a folder; ``library``: what loads them, as the Hugging Face hub is to
    call it."""

    name: str
    title: str
    summary: str
    aim: str = ""
    needs: Mapping[str, str] = {}
    files: tuple[str, ...] = ()
    library = "vitq"

    def parts_of(self, name: str) -> tuple[str, ...]:
        """The names of the files without which ``name``, the one to be loaded, is nothing."""
        return ()

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [package for package, module in self.needs.items() if find_spec(module) is None]

    def absent(self) -> str:
        """How to install what is missing; empty where nothing is."""
        missing = self.missing()
        if not missing:
            return ""
        return (
            f"{self.title} takes {' and '.join(missing)}, not installed here: pip install {' '.join(missing)}"
        )

    def check(self, result: QuantizeResult) -> None:
        """Raises VitqError for a model that this format cannot hold, naming what it is that it cannot."""
        self.check_packages()

    def check_packages(self) -> None:
        """Raises VitqError for those that are not installed."""
        if absent := self.absent():
            raise VitqError(absent)

    @abstractmethod
    def write(self, result: QuantizeResult, folder: Path) -> Written:
        """Write what :meth:`check` has let through into ``folder``, which is empty."""

    @abstractmethod
    def load(self, path: Path, task: Task) -> Answer:
        """What the file at ``path`` answers, by the runtime that it is for: of the task's outputs those that
        the format has."""

    @abstractmethod
    def runner(self, path: Path, threads: int = 0) -> Call:
        """What answers from the file with so many threads; 0: as many as there are. The file to be loaded of
        an export answers pictures [N, C, H, W]."""

    def how(self, result: QuantizeResult) -> str:
        """Markdown for whoever gets the file: how to run it."""
        return ""

    def lines(self, repo: str, name: str) -> str:
        """Python that gets the model from ``repo`` of the Hugging Face hub and loads the file ``name``, and
        what belongs to it: three lines."""
        return f'from huggingface_hub import snapshot_download\n\nfolder = snapshot_download("{repo}")'

    def kernels(self, path: Path) -> int | None:
        """How many products this machine's runtime computes with integers; None where nobody can tell."""
        return None

    def seal(self, path: Path, certificate: dict[str, Any]) -> None:
        """Write ``certificate`` into the file itself, where the format has room for it."""
        return


def by_torch(module: nn.Module, threads: int = 0) -> Call:
    """A runner of PyTorch's, whose number of threads is one for the whole process."""
    like = next(chain(module.parameters(), module.buffers()))

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads or before)
        try:
            with torch.inference_mode():
                given = module(*(each.to(like) for each in inputs))
                return given if isinstance(given, tuple) else (given,)
        finally:
            torch.set_num_threads(before)

    return run


EXPORTERS: Registry[Exporter] = Registry("export format")
