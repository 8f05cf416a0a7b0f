"""How pictures lie in a folder: which files are pictures, where the classes begin, what they are called."""

from collections.abc import Sequence
from dataclasses import dataclass

from .labels import match_labels

_ENDINGS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm", "avif", "jp2", "mpo")
SUFFIXES = tuple(f".{ending}" for ending in _ENDINGS)
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}


class NoPictures(ValueError):
    """There is not a single picture, whatever is looked for."""


@dataclass(frozen=True)
class Layout:
    """`names` of the pictures below `root` (`"wrapper/test/"` or `""`); `skipped` files are no pictures."""

    root: str
    names: list[str]
    skipped: int

    @property
    def classes(self) -> list[str]:
        """The sorted names of the class folders; none for a flat folder."""
        return sorted({name for name in map(class_of, self.names) if name is not None})

    def enter(self, folder: str) -> "Layout":
        """Only what is in `folder`."""
        prefix = folder + "/"
        inside = [name.removeprefix(prefix) for name in self.names if name.startswith(prefix)]
        return Layout(self.root + prefix, inside, self.skipped)


def find_pictures(
    names: Sequence[str],
    split: str | None = None,
    labels: Sequence[str] | None = None,
    where: str = "the folder",
) -> Layout:
    """The pictures among `names` of files, from the folder on whose folders are classes.

    A folder that everything is in is a wrapper (zip programs add one) unless it is `split` or one of the
    `labels`. Raises ValueError, naming `where`: NoPictures without any, and without the `split` or when one
    has to be chosen.
    """
    layout = _pictures_in(names)
    if not layout.names:
        raise NoPictures(f"{where} has no pictures in it; hidden folders are not searched")
    split = split.strip("/") if split else None
    layout = _unwrap(layout, split and split.partition("/")[0], labels)
    if split:
        return _choose(layout, split, where)
    if len(layout.classes) > 1 and {name.lower() for name in layout.classes} <= SPLITS:
        raise ValueError(f"{where} holds {', '.join(layout.classes)}; choose one of them as split")
    return layout


def class_of(name: str) -> str | None:
    """The first folder of a name; None for a file that is in none."""
    folder, inside, _ = name.partition("/")
    return folder if inside else None


def _pictures_in(names: Sequence[str]) -> Layout:
    visible = [name for name in names if not is_hidden(name)]
    pictures = [name for name in visible if name.lower().endswith(SUFFIXES)]
    return Layout("", pictures, len(visible) - len(pictures))


def is_hidden(name: str) -> bool:
    """What systems leave behind: `.DS_Store`, `._picture.jpg`, everything under `__MACOSX`."""
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _unwrap(layout: Layout, keep: str | None, labels: Sequence[str] | None) -> Layout:
    while len(folders := {class_of(name) for name in layout.names}) == 1:
        (only,) = folders
        if only is None or only == keep or _is_label(only, labels):
            break
        layout = layout.enter(only)
    return layout


def _choose(layout: Layout, split: str, where: str) -> Layout:
    chosen = layout.enter(split)
    if not chosen.names:
        available = ", ".join(layout.classes[:10]) or "none"
        raise ValueError(f"{where} has no folder {split!r} with pictures; available: {available}")
    return chosen


def _is_label(name: str, labels: Sequence[str] | None) -> bool:
    try:
        return bool(labels) and bool(match_labels([name], labels))
    except ValueError:
        return False
