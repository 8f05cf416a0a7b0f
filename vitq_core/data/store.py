"""Activations of all pictures: in memory up to a limit, in files beyond it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from ..common.errors import StorageError
from ..common.home import scratch_folder, vitq_home

PIECE = 2**20  # bytes written at a time where the system cannot reserve them
SHARED_LIMIT = 2 * 2**30  # bytes that all stores of one reconstruction keep in memory
STORE_LIMIT = 16 * 2**20  # bytes that a store on its own keeps in memory


class Scratch:
    """Room that stores share: ``limit`` bytes of memory, then files. A context: the files go when it ends."""

    def __init__(self, limit: int = SHARED_LIMIT) -> None:
        self.limit, self.held = limit, 0
        self._folder: TemporaryDirectory | None = None
        self._files = 0

    def take(self, size: int) -> Path | None:
        """None where ``size`` bytes still fit into memory, which counts them; otherwise a file of that size.

        Raises StorageError where the disk is full.
        """
        if self.held + size <= self.limit:
            self.held += size
            return None
        try:
            return self._new_file(size)
        except OSError as error:
            what = f"{size / 1e6:.0f} MB of activations do not fit"
            why = f"{error.strerror}; fewer pictures need less room"
            raise StorageError(f"{what} into {vitq_home()}: {why}", f"{what} on the disk: {why}") from error

    def _new_file(self, size: int) -> Path:
        if self._folder is None:
            self._folder = scratch_folder()
        self._files += 1
        path = Path(self._folder.name) / f"{self._files}.bin"
        _reserve(path, size)
        return path

    def give_back(self, size: int, path: Path | None) -> None:
        """What :meth:`take` gave for ``size`` bytes."""
        if path is None:
            self.held -= size
        else:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class ActivationStore:
    """Tensors whose first dimension is pictures: appended, read back in order or by number.

    They come back bit for bit, on the device they came from. A context; closed, it gives its room back.
    """

    def __init__(self, scratch: Scratch | None = None, rows: int | None = None) -> None:
        """``scratch``: room shared with other stores; by default the store's own, of ``STORE_LIMIT`` bytes.

        ``rows``: how many will be appended in all, of one shape, to be read by index. Without it every tensor
        may have a shape of its own.
        """
        self._own = Scratch(STORE_LIMIT) if scratch is None else None
        self.scratch = scratch or self._own
        self._rows, self._filled = rows, 0
        self._blocks: list[_Block] = []
        self._appended: list[tuple[_Block, int, int]] = []  # (where it lies, from which row on, rows)
        self._device = torch.device("cpu")

    def append(self, tensor: Tensor) -> None:
        """Raises StorageError where the disk is full."""
        alone = self._rows is None
        if alone or not self._blocks:
            rows = len(tensor) if alone else self._rows
            self._blocks.append(_Block(self.scratch, (rows, *tensor.shape[1:]), tensor.dtype))
        block, start = self._blocks[-1], 0 if alone else self._filled
        block.tensor.narrow(0, start, len(tensor)).copy_(tensor.detach())
        self._appended.append((block, start, len(tensor)))
        self._filled += len(tensor)
        self._device = tensor.device

    def __len__(self) -> int:
        """Rows appended."""
        return self._filled

    @property
    def appended(self) -> int:
        """How many tensors."""
        return len(self._appended)

    def __iter__(self) -> Iterator[Tensor]:
        """The tensors as they were appended; not copies, so nobody may write into them."""
        return map(self.tensor, range(len(self._appended)))

    def tensor(self, number: int) -> Tensor:
        """The tensor of that number, as iteration gives it."""
        block, start, count = self._appended[number]
        return block.tensor.narrow(0, start, count).to(self._device)

    def __getitem__(self, index: Tensor) -> Tensor:
        """The rows of ``index`` [n], copied; where it was not said how many would come, the tensors that were
        appended as these numbers, behind each other."""
        if self._rows is None:
            tensors = [self._blocks[number].tensor for number in index.tolist()]
            return (torch.cat(tensors) if len(tensors) > 1 else tensors[0].clone()).to(self._device)
        return self._blocks[0].tensor.index_select(0, index).to(self._device)

    def close(self) -> None:
        """Forget the tensors and give their room back."""
        for block in self._blocks:
            block.close()
        self._blocks.clear()
        self._appended.clear()
        self._filled = 0
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> ActivationStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class TreeStore:
    """Trees of tensors (tuples, lists, dicts), appended and read back as an ActivationStore does it.

    With ``rows`` all are of one build; otherwise each may have its own, as pictures with other prompts have.
    What is no tensor is kept as it was.
    """

    def __init__(self, scratch: Scratch | None = None, rows: int | None = None) -> None:
        """``scratch``, ``rows``: as of an ActivationStore."""
        self._own = Scratch(STORE_LIMIT) if scratch is None else None
        self._scratch, self._rows = scratch or self._own, rows
        self._stores: dict[int, ActivationStore] = {}  # by the leaf's place
        self._builds: list[_Build] = []

    def append(self, tree: Any) -> int:
        """Returns the tree's number. Raises StorageError where the disk is full."""
        leaves, spec = tree_flatten(tree)
        tensors = {place: leaf for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)}
        others = [None if place in tensors else leaf for place, leaf in enumerate(leaves)]
        numbers = {place: self._kept(place, tensor) for place, tensor in tensors.items()}
        self._builds.append(_Build(others, spec, numbers))
        return len(self._builds) - 1

    def _kept(self, place: int, tensor: Tensor) -> int:
        """The number that the tensor has in the store of its place."""
        store = self._stores.setdefault(place, ActivationStore(self._scratch, self._rows))
        store.append(tensor)
        return store.appended - 1

    def __len__(self) -> int:
        """Rows appended, or without their number how many trees."""
        return len(self._builds) if self._rows is None else len(next(iter(self._stores.values()), ()))

    def __iter__(self) -> Iterator[Any]:
        """The trees as they were appended; nobody may write into them."""
        streams = {place: iter(store) for place, store in self._stores.items()}
        for build in self._builds:
            yield build.tree({place: next(streams[place]) for place in build.numbers})

    def tree(self, number: int) -> Any:
        """The tree of that number, as one of those that iteration gives; not with ``rows``."""
        build = self._builds[number]
        return build.tree({place: self._stores[place].tensor(n) for place, n in build.numbers.items()})

    def __getitem__(self, index: Tensor) -> Any:
        """The rows of ``index`` [n], or the trees of these numbers, of one build, behind each other; copied.
        What is no tensor is the first one's."""
        if self._rows is not None:
            first = self._builds[0]
            return first.tree({place: self._stores[place][index] for place in first.numbers})
        builds = [self._builds[number] for number in index.tolist()]
        numbers = {place: torch.tensor([b.numbers[place] for b in builds]) for place in builds[0].numbers}
        return builds[0].tree({place: self._stores[place][n] for place, n in numbers.items()})

    def close(self) -> None:
        """Forget the tensors and give their room back."""
        for store in self._stores.values():
            store.close()
        self._stores.clear()
        self._builds.clear()
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> TreeStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@dataclass(frozen=True)
class _Build:
    """Of a tree: its leaves, None for tensors, and by their places the tensors' ``numbers`` in the stores."""

    leaves: list[Any]
    spec: TreeSpec
    numbers: dict[int, int]

    def tree(self, tensors: dict[int, Tensor]) -> Any:
        """Whole again."""
        return tree_unflatten([tensors.get(place, x) for place, x in enumerate(self.leaves)], self.spec)


class _Block:
    """Room for one tensor of ``shape``, in memory or in a file."""

    def __init__(self, scratch: Scratch, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self._scratch, self._shape, self._dtype = scratch, torch.Size(shape), dtype
        self._size = self._shape.numel() * dtype.itemsize
        self._path = scratch.take(self._size)
        self._held = torch.empty(shape, dtype=dtype) if self._path is None else None

    @property
    def tensor(self) -> Tensor:
        """A file is mapped anew every time, so that what is not in use takes no memory."""
        if self._held is not None:
            return self._held
        elements = self._shape.numel()
        mapped = torch.from_file(str(self._path), shared=True, size=elements, dtype=self._dtype)
        return mapped.reshape(self._shape)

    def close(self) -> None:
        self._held = None
        self._scratch.give_back(self._size, self._path)


def _reserve(path: Path, size: int) -> None:
    """Take the blocks now: on a full disk a later write through the mapping would kill the program."""
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            for start in range(0, size, PIECE):
                file.write(bytes(min(PIECE, size - start)))
