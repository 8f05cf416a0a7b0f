"""A list of tensors that stays small in memory: beyond a limit it goes on in files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from ..common.home import scratch_folder

MEMORY_LIMIT = 16 * 2**20  # bytes held in memory by one store


class TensorStore:
    """Append tensors, read them back in order. A context: its files go when it ends."""

    def __init__(self, limit: int = MEMORY_LIMIT) -> None:
        self._limit, self._held = limit, 0
        self._items: list[Tensor | Path] = []
        self._folder: TemporaryDirectory | None = None

    def __enter__(self) -> TensorStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget the tensors and delete their files."""
        self._items.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def append(self, tensor: Tensor) -> None:
        size = tensor.numel() * tensor.element_size()
        if self._held + size <= self._limit:
            self._held += size
            self._items.append(tensor)
        else:
            self._items.append(self._write(tensor))

    def _write(self, tensor: Tensor) -> Path:
        if self._folder is None:
            self._folder = scratch_folder()
        path = Path(self._folder.name) / f"{len(self._items)}.pt"
        torch.save(tensor.clone(), path)  # a view would drag its whole storage into the file
        return path

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Tensor]:
        for item in list(self._items):
            yield torch.load(item, weights_only=True) if isinstance(item, Path) else item
