"""Activations of all pictures, row by row at random: in memory up to a limit, in files beyond it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from ..common.errors import VitqError
from ..common.home import scratch_folder, vitq_home

PIECE = 2**20  # bytes written at a time where the system cannot reserve them
MEMORY_LIMIT = 2 * 2**30  # bytes that one run keeps in memory


class Cache:
    """Hands out :class:`Rows` and counts their bytes. A context: its files go when it ends."""

    def __init__(self, limit: int = MEMORY_LIMIT) -> None:
        self.limit, self.held = limit, 0
        self._folder: TemporaryDirectory | None = None
        self._files = 0

    def rows(self, count: int) -> Rows:
        """Room for ``count`` rows, of whatever shape the first ones have."""
        return Rows(self, count)

    def new_file(self) -> Path:
        if self._folder is None:
            self._folder = scratch_folder()
        self._files += 1
        return Path(self._folder.name) / f"{self._files}.bin"

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *error: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()


class Rows:
    """[count, …] floats, filled from the front by :meth:`append`, read by index. Close it when done."""

    def __init__(self, cache: Cache, count: int) -> None:
        self.cache, self.count, self._filled = cache, count, 0
        self._tensor: Tensor | None = None
        self._held, self._path = 0, None

    def append(self, rows: Tensor) -> None:
        if self._tensor is None:
            self._tensor = self._room((self.count, *rows.shape[1:]))
        self._tensor[self._filled : self._filled + len(rows)] = rows
        self._filled += len(rows)

    def _room(self, shape: tuple[int, ...]) -> Tensor:
        elements = int(torch.Size(shape).numel())
        if self.cache.held + 4 * elements <= self.cache.limit:
            self._held = 4 * elements
            self.cache.held += self._held
            return torch.empty(shape)
        self._path = self.cache.new_file()
        try:
            _reserve(self._path, 4 * elements)
        except OSError as error:
            raise VitqError(
                f"{4 * elements / 1e6:.0f} MB of activations do not fit into {vitq_home()}: "
                f"{error.strerror}; fewer pictures need less room"
            ) from error
        return torch.from_file(str(self._path), shared=True, size=elements).reshape(shape)

    def __getitem__(self, index: Tensor) -> Tensor:
        """The rows of ``index`` [n], copied."""
        return self._tensor.index_select(0, index)

    def __len__(self) -> int:
        """Rows filled."""
        return self._filled

    def split(self, size: int, start: int = 0) -> Iterator[Tensor]:
        """The rows from ``start`` on, ``size`` at a time."""
        return iter(self._tensor[start:].split(size))

    @property
    def shape(self) -> torch.Size:
        return self._tensor.shape

    def close(self) -> None:
        """Give the room back."""
        self._tensor = None
        self.cache.held -= self._held
        self._held = 0
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None


def _reserve(path: Path, size: int) -> None:
    """Take the blocks now: on a full disk a later write through the mapping would kill the program."""
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            for start in range(0, size, PIECE):
                file.write(bytes(min(PIECE, size - start)))
