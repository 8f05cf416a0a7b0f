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
from .label_files import LabelFile, LabelFileError, Labelled, find_label_file, match_files, read_label_file
from .labels import class_indices
from .layout import Layout, class_of, find_pictures
from .names import number_of

__all__ = ["PictureFolder", "PictureLoader", "open_picture"]

UNLABELLED = -1


class PictureFolder(Dataset):
    """The pictures of `<class>/<file>`, or of a flat folder, or of a .zip of either.

    An item is (tensor [3, H, W], label); the label is -1 where there is none. `labels` are the names that the
    labels point into: the class folders, or the model's labels when these are given. A file `labels.csv`
    (file,label), `labels.tsv` or `labels.json` beside the pictures says what they show instead of folders;
    `labels.txt` names the classes that numbers stand for. `left_out` says which files are no pictures
    (`skipped`: how many), `notes` what of a file of labels fits nothing, `unreadable` maps pictures that a
    loader had to leave out to the reason.
    """

    def __init__(
        self,
        path: str | Path | Folder | Archive,
        preprocess: Callable[[Image.Image], torch.Tensor],
        limit: int | None = None,
        seed: int = 0,
        split: str | None = None,
        labels: Sequence[str] | None = None,
        classes: int | None = None,
        label_file: str | Path | None = None,
    ) -> None:
        """Look at the names only; nothing is decoded yet. Files without a picture's ending are told by their
        first bytes.

        `limit` pictures are taken at random but balanced over the classes (the same for the same seed; more
        pictures begin with the fewer), `split` is the folder inside to use (`test`), `labels` the model's,
        `classes` how many it has, `label_file` what to read in place of the one beside the pictures.
        Raises ValueError when there are no pictures, a split is missing or not chosen, classes do not match,
        or the file of labels cannot be read or names none of the pictures.
        """
        self._storage = open_storage(path)
        self.path = self._storage.path
        self.preprocess = preprocess
        layout = find_pictures(self._storage, split, labels)
        self._root, self.left_out = layout.root, self._storage.left_out
        self.skipped = self.left_out.others.total()
        self.notes: list[str] = []
        self.classes = layout.classes
        table = self._table(label_file)
        found = self._by_table(table, layout, labels, classes, label_file is not None)
        index = found.labels if found else self._by_folder(table, layout, labels, classes)
        self.labels = list(labels) if labels else found.names if found else _names_of(self.classes, index)
        key = str if found else class_of
        labelled = [(name, index.get(key(name), UNLABELLED)) for name in layout.names]
        self.files = _subset(labelled, limit, seed)
        self.unreadable: dict[str, str] = {}

    def _table(self, label_file: str | Path | None) -> LabelFile | None:
        if label_file is not None:
            return read_label_file(label_file)
        try:
            return find_label_file(self._storage, self._root)
        except ValueError as error:  # nobody asked for it: it may be about something else
            self.notes.append(f"Not used: {error}.")
            return None

    def _by_table(
        self,
        table: LabelFile | None,
        layout: Layout,
        labels: Sequence[str] | None,
        classes: int | None,
        asked: bool,
    ) -> Labelled | None:
        """None where the table is about none of the pictures, or there is none."""
        if table is None or not table.rows:
            return None
        found = match_files(table, layout.names, labels, classes)
        if not found.labels and asked:
            raise LabelFileError(f"{table.name} labels none of the pictures. {' '.join(found.notes)}")
        if not found.labels:
            self.notes.append(f"{table.name} labels none of the pictures and was not used.")
            return None
        self.notes += found.notes
        return found

    def _by_folder(
        self, table: LabelFile | None, layout: Layout, labels: Sequence[str] | None, classes: int | None
    ) -> dict[str, int]:
        """Numbered folders are called what a list of classes calls them."""
        called = {name: name for name in layout.classes}
        if table is not None and table.classes and labels:
            numbers = {name: number_of(name) for name in called}
            known = all(n is not None and n < len(table.classes) for n in numbers.values())
            called = {name: table.classes[n] for name, n in numbers.items()} if known else called
        index = class_indices(list(called.values()), labels, classes)
        return {name: index[word] for name, word in called.items()}

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

    @property
    def count(self) -> int:
        """Pictures, readable or not."""
        return len(self.folder)

    def part(self, start: int, stop: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The batches of some of the pictures alone; no other is decoded."""
        for first in range(start, stop, self.batch_size):
            items = self._items(range(first, min(first + self.batch_size, stop)))
            if items:
                images, labels = zip(*items, strict=True)
                yield torch.stack(images), torch.tensor(labels)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return self.part(0, self.count)

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


def _names_of(classes: Sequence[str], index: dict[str, int]) -> list[str]:
    """By class index; a number that no folder has is its own name."""
    names = {number: name for name, number in index.items()}
    return [names.get(number, str(number)) for number in range(max(names, default=-1) + 1)]


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
