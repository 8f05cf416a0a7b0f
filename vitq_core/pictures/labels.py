"""Class names: those of a checkpoint, and matching a folder's class names to a model's."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from timm.data import ImageNetInfo

IMAGENET_CLASSES = 1000
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


def match_labels(class_names: Sequence[str], labels: Sequence[str]) -> dict[str, int]:
    """The model's label index for each class name, ignoring case, spaces, hyphens and underscores.

    ImageNet's synsets (`n01440764`) are understood for a model of 1,000 classes. Raises ValueError naming a
    few class names that no label matches.
    """
    index = _index_of(labels)
    matched = {name: index[key] for name in class_names if (key := _plain(name)) in index}
    unmatched = [name for name in class_names if name not in matched]
    if unmatched:
        some = ", ".join(repr(name) for name in unmatched[:3])
        raise ValueError(
            f"{len(unmatched)} of {len(class_names)} class folders match no label of the model ({some}); "
            f"its labels are such as {', '.join(repr(label) for label in labels[:3])}"
        )
    return matched


def _index_of(labels: Sequence[str]) -> dict[str, int]:
    """Plain name → index, without the names that two labels share (ImageNet has two cranes)."""
    keys = [_plain(label) for label in labels]
    count = Counter(keys)
    index = {key: i for i, key in enumerate(keys) if count[key] == 1}
    if len(labels) == IMAGENET_CLASSES:
        index |= {synset: i for i, synset in enumerate(_synset_names())}
    return index


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


@lru_cache(maxsize=1)
def _synset_names() -> dict[str, str]:
    """ImageNet-1k's synsets in the order of the classes, each with the first of its names."""
    described = ImageNetInfo().label_descriptions(as_dict=True)
    return {synset: description.split(",")[0] for synset, description in described.items()}


def _imagenet_names() -> tuple[str, ...]:
    return tuple(_synset_names().values())
