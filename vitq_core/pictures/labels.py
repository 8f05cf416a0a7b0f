"""Class names: those of a checkpoint, and matching a folder's class names to a model's."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from timm.data import ImageNetInfo

from ..common.words import counted, readable
from .names import natural, number_of, plain

IMAGENET_CLASSES = 1000
MOST_CLASSES = 100_000  # more than any model has: larger numbers are years and the like
_SYNSET = re.compile(r"n\d{8}")


def checkpoint_labels(config: Mapping[str, Any], classes: int) -> list[str] | None:
    """Readable class names of a timm `pretrained_cfg`, ImageNet's for 1,000 unnamed ones; None if unknown.

    Raises ValueError when the checkpoint names another number of classes than the model has.
    """
    names = config.get("label_names")
    if not names:
        return list(_imagenet_names()) if classes == IMAGENET_CLASSES else None
    if len(names) != classes:
        raise ValueError(f"it names {len(names)} labels for {classes} classes")
    descriptions = config.get("label_descriptions") or {}
    described = (
        descriptions if isinstance(descriptions, Mapping) else dict(zip(names, descriptions, strict=False))
    )
    wordnet = _synset_names() if all(_SYNSET.fullmatch(str(name)) for name in names) else {}
    return [str(described.get(name) or wordnet.get(name, name)) for name in names]


class UnknownClasses(ValueError):
    """Class names of a folder that are none of the model's."""


def class_indices(
    names: Sequence[str], labels: Sequence[str] | None = None, classes: int | None = None
) -> dict[str, int]:
    """The model's class for each class name of a folder.

    By the model's `labels`, or where it has none, and for names that are all whole numbers, by the number
    itself. Words for a model without labels count in their natural order, as timm counts them, which says
    something only if there are as many as the model has `classes` (None: unknown). Raises UnknownClasses.
    """
    numbers = {name: number for name in names if (number := number_of(name)) is not None}
    if labels:
        try:
            return match_labels(names, labels)
        except UnknownClasses:
            if len(numbers) < len(names):
                raise
            return _fitting(numbers, len(labels))
    if names and len(numbers) == len(names):
        return _fitting(numbers, classes or MOST_CLASSES)
    if classes == IMAGENET_CLASSES and all(name in _synset_names() for name in names):
        return {name: index for index, name in enumerate(_synset_names()) if name in names}
    if classes and names and len(names) != classes:
        raise UnknownClasses(
            f"the model does not name its {classes} classes, and {counted(len(names), 'class folder')} "
            f"cannot tell which they are; call the folders 0 to {classes - 1}"
        )
    return {name: index for index, name in enumerate(sorted(names, key=natural))}


def _fitting(numbers: dict[str, int], classes: int) -> dict[str, int]:
    low, high = min(numbers.values()), max(numbers.values())
    if high >= classes:
        raise UnknownClasses(
            f"class folders are numbered {low} to {high}, and the model's classes 0 to {classes - 1}; give "
            "each folder the number or the name of its class"
        )
    return numbers


def match_labels(class_names: Sequence[str], labels: Sequence[str]) -> dict[str, int]:
    """The model's label index for each class name, ignoring case, spaces, hyphens, underscores and the form
    of accents.

    One of a label's names suffices (`tench` of `tench, Tinca tinca`), and ImageNet's synsets (`n01440764`)
    are understood wherever their name is a label. Raises UnknownClasses naming a few that no label matches.
    """
    index = _index_of(tuple(labels))
    matched = {name: index[key] for name in class_names if (key := plain(name)) in index}
    unmatched = [name for name in class_names if name not in matched]
    if unmatched:
        some = ", ".join(repr(readable(name)) for name in unmatched[:3])
        raise UnknownClasses(
            f"{len(unmatched)} of {len(class_names)} class folders match no label of the model ({some}); "
            f"its labels are such as {', '.join(repr(label) for label in labels[:3])}"
        )
    return matched


@lru_cache(maxsize=8)
def _index_of(labels: tuple[str, ...]) -> dict[str, int]:
    """Plain name → index, without the names that two labels share (ImageNet has two cranes)."""
    whole = _unique([(plain(label), i) for i, label in enumerate(labels)])
    each = [(plain(part), i) for i, label in enumerate(labels) for part in dict.fromkeys(label.split(","))]
    index = _unique(each) | whole
    return _synset_indices(labels, index) | index


def _unique(keys: Sequence[tuple[str, int]]) -> dict[str, int]:
    count = Counter(key for key, _ in keys)
    return {key: i for key, i in keys if count[key] == 1}


def _synset_indices(labels: Sequence[str], index: Mapping[str, int]) -> dict[str, int]:
    """Of ImageNet-1k: by position where the labels are ImageNet's in its order, or else by name."""
    names = _synset_names()
    if len(labels) == len(names):
        same = sum(
            plain(name) in (plain(label), plain(label.split(",")[0]))
            for name, label in zip(names.values(), labels, strict=True)
        )
        if same > len(names) / 2:
            return {synset: i for i, synset in enumerate(names)}
    alone = Counter(map(plain, names.values()))
    known = ((synset, plain(name)) for synset, name in names.items())
    return {synset: index[key] for synset, key in known if key in index and alone[key] == 1}


@lru_cache(maxsize=1)
def _synset_names() -> dict[str, str]:
    """ImageNet-1k's synsets in the order of the classes, each with the first of its names."""
    described = ImageNetInfo().label_descriptions(as_dict=True)
    return {synset: description.split(",")[0] for synset, description in described.items()}


def _imagenet_names() -> tuple[str, ...]:
    return tuple(_synset_names().values())
