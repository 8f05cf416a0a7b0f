"""Labelled or unlabelled pictures from a folder or a zip archive, for evaluation and calibration."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import Dataset

from .archive import Archive, Folder, open_storage
from .decoding import open_picture
from .labels import match_labels
from .layout import class_of, find_pictures

__all__ = ["PictureFolder", "PictureLoader", "open_picture"]

UNLABELLED = -1


class PictureFolder(Dataset):
    """The pictures of `<class>/<file>`, or of a flat folder (no labels), or of a .zip of either.

    An item is (tensor [3, H, W], label); the label is -1 where there is none. `labels` are the names that the
    labels point into: the sorted class folders, or the model's labels when these are given. `skipped` counts
    files that are not pictures, `unreadable` maps pictures that a loader had to leave out to the reason.
    """

    def __init__(
        self,
        path: str | Path | Folder | Archive,
        preprocess: Callable[[Image.Image], torch.Tensor],
        limit: int | None = None,
        seed: int = 0,
        split: str | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        """Look at the names only; nothing is decoded yet.

        `limit` pictures are taken at random but balanced over the classes (the same for the same seed; more
        pictures begin with the fewer), `split` is the folder inside to use (`test`), `labels` the model's.
        Raises ValueError when there are no pictures, a split is missing or not chosen, or classes do not
        match.
        """
        self._storage = open_storage(path)
        self.path = self._storage.path
        self.preprocess = preprocess
        layout = find_pictures(self._storage.names(), split, labels, where=self._storage.name)
        self._root, self.skipped = layout.root, layout.skipped
        self.classes = layout.classes
        self.labels = list(labels) if labels else self.classes
        index = match_labels(self.classes, labels) if labels else _numbered(self.classes)
        labelled = [(name, index.get(class_of(name), UNLABELLED)) for name in layout.names]
        self.files = _subset(labelled, limit, seed)
        self.unreadable: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """The tensor [3, H, W] and label of a picture; ValueError names one that cannot be read."""
        return self.preprocess(self.picture(index)), self.files[index][1]

    def picture(self, index: int) -> Image.Image:
        """The picture itself, RGB, before preprocessing."""
        name = self._root + self.files[index][0]
        return open_picture(self._storage.read(name), name=name)

    def loader(self, batch_size: int = 32) -> "PictureLoader":
        """Batches of (images [B, 3, H, W], labels [B]), in order; can be gone through again and again."""
        return PictureLoader(self, batch_size)


class PictureLoader:
    """Batches of a PictureFolder, one at a time; unreadable pictures are left out and noted there."""

    def __init__(self, folder: PictureFolder, batch_size: int) -> None:
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size must be a whole number of at least 1, got {batch_size!r}")
        self.folder = folder
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.folder) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for start in range(0, len(self.folder), self.batch_size):
            items = self._items(range(start, min(start + self.batch_size, len(self.folder))))
            if items:
                images, labels = zip(*items, strict=True)
                yield torch.stack(images), torch.tensor(labels)

    def _items(self, indices: range) -> list[tuple[torch.Tensor, int]]:
        items = []
        for index in indices:
            name, label = self.folder.files[index]
            try:
                picture = self.folder.picture(index)
            except ValueError as error:
                self.folder.unreadable[name] = str(error)
            else:
                items.append((self.folder.preprocess(picture), label))
        return items


def _numbered(classes: Sequence[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(classes)}


def _subset(files: list[tuple[str, int]], limit: int | None, seed: int) -> list[tuple[str, int]]:
    """Up to `limit` files: each class shuffled, then one of each class in turn."""
    if limit is None:
        return files
    if not isinstance(limit, int) or limit < 1:
        raise ValueError(f"limit must be a whole number of at least 1 or None, got {limit!r}")
    generator = random.Random(seed)
    by_label = defaultdict(list)
    for name, label in files:
        by_label[label].append((name, label))
    turns = []
    for label in sorted(by_label):
        generator.shuffle(by_label[label])
        turns += [(turn, label, file) for turn, file in enumerate(by_label[label])]
    return [file for _, _, file in sorted(turns)[:limit]]
