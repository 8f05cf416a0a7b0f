"""How pictures lie in a folder: where the classes begin, what they are called, which parts there are."""

from collections.abc import Sequence
from dataclasses import dataclass

from .labels import match_labels
from .listing import Listing
from .names import composed, natural
from .splits import named, parts_among


class NoPictures(ValueError):
    """There is not a single picture, whatever is looked for."""


class Parts(ValueError):
    """There are train and test parts, of which one has to be chosen: `folders`, and `others` beside them."""

    def __init__(self, where: str, folders: Sequence[str], others: Sequence[str]) -> None:
        super().__init__(f"{where} holds {', '.join(folders)}; choose one of them as split")
        self.folders, self.others = list(folders), list(others)


@dataclass(frozen=True)
class Layout:
    """`names` of the pictures below `root` (`"wrapper/test/"` or `""`)."""

    root: str
    names: list[str]

    @property
    def classes(self) -> list[str]:
        """The names of the class folders, 2 before 10; none for a flat folder."""
        return sorted({name for name in map(class_of, self.names) if name is not None}, key=natural)

    @property
    def folders(self) -> list[str]:
        """The same as the disk has them."""
        return sorted({name.partition("/")[0] for name in self.names if "/" in name}, key=natural)

    def enter(self, folder: str) -> "Layout":
        """Only what is in `folder`."""
        prefix = folder + "/"
        inside = [name.removeprefix(prefix) for name in self.names if name.startswith(prefix)]
        return Layout(self.root + prefix, inside)


def find_pictures(storage: Listing, split: str | None = None, labels: Sequence[str] | None = None) -> Layout:
    """The pictures of a folder or zip, from the folder on whose folders are classes.

    A folder that everything is in is a wrapper (zip programs add one) unless it is `split` or one of the
    `labels`. Raises ValueError: NoPictures without any, Parts where one has to be chosen, and without the
    `split`.
    """
    layout = Layout("", storage.pictures())
    if not layout.names:
        raise NoPictures(_nothing(storage))
    split = split.strip("/") if split else None
    layout = _unwrap(layout, split and split.partition("/")[0], labels)
    if split:
        return _choose(layout, split, storage.name)
    parts = parts_among(layout.folders)
    if parts and not _are_labels(layout.classes, labels):
        raise Parts(storage.name, list(parts), [name for name in layout.folders if name not in parts])
    return layout


def class_of(name: str) -> str | None:
    """The first folder of a name, its letters composed; None for a file that is in none."""
    folder, inside, _ = name.partition("/")
    return composed(folder) if inside else None


def _nothing(storage: Listing) -> str:
    left = storage.left_out
    if not left.others:
        said = " ".join(left.sentences())
        return f"{storage.name} has no pictures in it" + (f". {said}" if said else "")
    count = left.others.total()
    files = "1 file, which is no picture" if count == 1 else f"{count} files, none of them a picture"
    return f"{storage.name} has {files} that can be read ({left.endings()}).{left.advice()}".rstrip(".")


def _unwrap(layout: Layout, keep: str | None, labels: Sequence[str] | None) -> Layout:
    while len(folders := {name.partition("/")[0] if "/" in name else None for name in layout.names}) == 1:
        (only,) = folders
        if only is None or (keep and named(keep, [only])) or _are_labels([only], labels):
            break
        layout = layout.enter(only)
    return layout


def _choose(layout: Layout, split: str, where: str) -> Layout:
    first, _, inside = split.partition("/")
    found = named(first, layout.folders)
    chosen = layout.enter("/".join(part for part in (found or first, inside) if part))
    if not chosen.names:
        available = ", ".join(layout.classes[:10]) or "none"
        raise ValueError(f"{where} has no folder {split!r} with pictures; available: {available}")
    if chosen.folders == [found] and all(name.count("/") > 1 for name in chosen.names):
        return chosen.enter(found)  # train/train/cat, as some archives have it
    return chosen


def _are_labels(names: Sequence[str], labels: Sequence[str] | None) -> bool:
    try:
        return bool(labels) and bool(match_labels(names, labels))
    except ValueError:
        return False
