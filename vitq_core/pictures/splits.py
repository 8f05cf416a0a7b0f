"""Folders that are parts of a data set, such as `train` and `test`, for the engine and the studio."""

from collections.abc import Collection, Iterable

from .names import natural, plain

PARTS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "val": ("val", "valid", "validation", "dev"),
}
# To measure ranges on, and to test on; the first pair that is there is taken.
PAIRS = (("train", "test"), ("train", "val"), ("val", "test"))


def part_of(folder: str) -> str | None:
    """`train`, `test` or `val`, however it is written; None for a folder that is no part."""
    return next((part for part, names in PARTS.items() if plain(folder) in names), None)


def parts_among(folders: Iterable[str]) -> dict[str, str]:
    """{folder: part} where there are two parts or more; a lone `train` may be a class of vehicles."""
    parts = {folder: part for folder in folders if (part := part_of(folder))}
    return parts if len(set(parts.values())) > 1 else {}


def pair_among(folders: Iterable[str]) -> tuple[str, str] | None:
    """The folder to measure ranges on and the one to test on; None where there are not both."""
    by_part: dict[str, str] = {}
    for folder, part in sorted(parts_among(folders).items(), key=lambda item: natural(item[0])):
        by_part.setdefault(part, folder)
    return next(((by_part[a], by_part[b]) for a, b in PAIRS if a in by_part and b in by_part), None)


def named(split: str, folders: Collection[str]) -> str | None:
    """The folder that is meant by `split`: of this name, written in some way, or of the same part."""
    if split in folders:
        return split
    alike = [folder for folder in folders if plain(folder) == plain(split)]
    part = part_of(split)
    return next(
        iter(alike or [folder for folder in sorted(folders) if part and part_of(folder) == part]), None
    )
