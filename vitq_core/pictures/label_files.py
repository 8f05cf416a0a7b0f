"""Files that say what pictures show: a table of file and label, or a list of the classes' names."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..common.files import given_path
from ..common.words import counted
from .archive import Archive, Folder
from .decoding import MAX_BYTES
from .labels import UnknownClasses, class_indices, match_labels
from .names import composed, number_of, plain

# Looked for where the pictures begin and in the folders around; the second is ImageNet's of Kaggle.
FOUND = ("labels.csv", "loc_val_solution.csv", "labels.tsv", "labels.json", "labels.txt")
_FILES = ("file", "filename", "file name", "path", "image", "imageid", "image id", "name", "id", "picture")
_LABELS = ("label", "class", "category", "target", "predictionstring", "species", "class name", "label name")
_DELIMITERS = ("\t", ",", ";", " ")


class LabelFileError(ValueError):
    """A file of labels that is none."""


@dataclass(frozen=True)
class LabelFile:
    """`rows`: {file as the table has it: label}; `classes`: their names in order, where these are listed."""

    name: str
    rows: dict[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] = ()


def find_label_file(storage: Folder | Archive, root: str) -> LabelFile | None:
    """The first of FOUND in the folder `root` (`"wrapper/test/"`) or one around it. Raises LabelFileError."""
    parents = root.split("/")[:-1]
    places = ["".join(f"{part}/" for part in parents[:depth]) for depth in range(len(parents), -1, -1)]
    by_name = {name.casefold(): name for name in storage.names()}
    wanted = (f"{place}{name}".casefold() for place in places for name in FOUND)
    found = next((by_name[name] for name in wanted if name in by_name), None)
    return parse(_text(storage.read(found), found), found) if found else None


def read_label_file(path: str | Path) -> LabelFile:
    """The one that somebody names. Raises LabelFileError."""
    path = given_path(path, "the file of labels", "file")
    return parse(_text(path, path.name), path.name)


def parse(text: str, name: str) -> LabelFile:
    """Raises LabelFileError, one sentence that starts with `name`, for what is neither table nor list."""
    made = _from_json(text, name) if name.lower().endswith(".json") else _from_rows(text, name)
    twice = [label for label, count in Counter(made.classes).items() if count > 1]
    if twice:
        raise LabelFileError(
            f"{name} names {twice[0]!r} more than once, so it is no list of classes; to label pictures, "
            "write a file and its label in each line"
        )
    if not made.rows and not made.classes:
        raise LabelFileError(f"{name} is empty; write a file and its label in each line")
    return made


def _text(source: Path | bytes, name: str) -> str:
    if isinstance(source, Path):
        if not source.is_file():
            raise LabelFileError(f"{name} is not there, or no file")
        with source.open("rb") as file:
            source = file.read(MAX_BYTES + 1)
    if len(source) > MAX_BYTES:
        raise LabelFileError(f"{name} has more than {MAX_BYTES // 2**20} MB")
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError:
        return source.decode("latin-1")


def _from_json(text: str, name: str) -> LabelFile:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LabelFileError(f"{name} is damaged: it cannot be read as JSON") from error
    if isinstance(content, list) and all(isinstance(each, str) for each in content):
        return LabelFile(name, classes=tuple(content))
    if not isinstance(content, dict) or not all(_word(value) for value in content.values()):
        raise LabelFileError(f"{name} must be {{file: label}} or a list of the classes' names")
    words = {key: _word(value) for key, value in content.items()}
    if sorted(map(number_of, words), key=str) == sorted(range(len(words)), key=str):  # {"0": "cat"}
        return LabelFile(name, classes=tuple(words[key] for key in sorted(words, key=number_of)))
    return LabelFile(name, rows=words)


def _word(value: Any) -> str:
    """A label, or the first of several names of one; empty for what is none."""
    if isinstance(value, list) and value:
        value = value[0]
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def _from_rows(text: str, name: str) -> LabelFile:
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = _delimiter(lines, name)
    if delimiter is None:
        return LabelFile(name, classes=tuple(line.strip() for line in lines))
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    file, label = _columns(rows[0])
    table = [row for row in rows[_has_header(rows[0]) :] if len(row) > max(file, label)]
    return LabelFile(name, rows={row[file]: row[label] for row in table})


def _delimiter(lines: Sequence[str], name: str) -> str | None:
    """What stands between the columns; None for a list of names, which may have spaces in them."""
    known = _DELIMITERS if not name.lower().endswith(".txt") or _all_files(lines) else ()
    return next((mark for mark in known if lines and mark in lines[0]), None)


def _all_files(lines: Iterable[str]) -> bool:
    """Whether every line begins with a file's name: a word with a dot in it."""
    return all(
        "." in line.replace("\t", " ").replace(",", " ").partition(" ")[0].strip(".") for line in lines
    )


def _has_header(row: Sequence[str]) -> bool:
    words = [plain(cell) for cell in row]
    return any(word in _LABELS for word in words) and any(word in _FILES for word in words)


def _columns(first: Sequence[str]) -> tuple[int, int]:
    """Where the file and the label stand."""
    words = [plain(cell) for cell in first]
    if not _has_header(first):
        return 0, 1
    return tuple(next(words.index(word) for word in known if word in words) for known in (_FILES, _LABELS))


@dataclass(frozen=True)
class Labelled:
    """`labels`: {picture: class index}; `names` of the classes where the model has none; `notes`: what could
    not be matched, as sentences."""

    labels: dict[str, int]
    names: list[str]
    notes: list[str]


def match_files(
    table: LabelFile, pictures: Sequence[str], labels: Sequence[str] | None, classes: int | None
) -> Labelled:
    """What the rows of `table` say about `pictures`, in the model's classes."""
    places = _places(pictures)
    rows = {key: label for file, label in table.rows.items() if (key := places.get(_key(file)))}
    index, unknown = _indices(sorted(set(rows.values())), labels, classes)
    found = {picture: index[label] for picture, label in rows.items() if label in index}
    missing, strange = len(pictures) - len(rows), len(table.rows) - len(rows)
    notes = []
    if missing:
        notes.append(f"{counted(missing, 'picture')} of {len(pictures)} not in {table.name}: unlabelled.")
    if strange:
        notes.append(f"{counted(strange, 'row')} of {table.name} without a picture here.")
    if unknown:
        count = sum(label in unknown for label in rows.values())
        some = ", ".join(repr(label) for label in unknown[:3])
        notes.append(f"{counted(count, 'picture')} with labels that are none of the model's: {some}.")
    return Labelled(found, [name for name, _ in sorted(index.items(), key=lambda item: item[1])], notes)


def _indices(
    words: Sequence[str], labels: Sequence[str] | None, classes: int | None
) -> tuple[dict[str, int], list[str]]:
    """({label of the table: class}, those that are none)."""
    try:
        return class_indices(words, labels, classes), []
    except UnknownClasses:
        each = {word: _index(word, labels, classes) for word in words}
    known = {word: index for word, index in each.items() if index is not None}
    return known, [word for word in words if word not in known]


def _index(word: str, labels: Sequence[str] | None, classes: int | None) -> int | None:
    """Of one label alone: also `n03995372 85 1 499 272`, a synset and where it is in the picture."""
    for name in (word, word.split(" ")[0]) if labels else ():
        try:
            return match_labels([name], labels)[name]
        except UnknownClasses:
            continue
    number = number_of(word)
    most = len(labels) if labels else classes or 0
    return number if number is not None and number < most else None


def _places(pictures: Sequence[str]) -> dict[str, str]:
    """{each way to name it that names no other one: picture}: its path, its name, either without ending."""
    ways = [(picture, way) for picture in pictures for way in _ways(_key(picture))]
    count = Counter(way for _, way in ways)
    return {way: picture for picture, way in ways if count[way] == 1 or way == _key(picture)}


def _ways(path: str) -> set[str]:
    name = path.rpartition("/")[2]
    return {path, name, path.rpartition(".")[0] or path, name.rpartition(".")[0] or name}


def _key(file: str) -> str:
    return composed(file.replace("\\", "/").removeprefix("./"))
