"""Folders of quantized models, changed: by somebody who makes the checksums right again, or into the formats
of earlier versions."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import vitq_core as vq
from vitq_core.exporters.packed.container import (
    DESCRIPTION,
    FORMAT,
    KEY,
    TENSORS,
    TYPES,
    WEIGHTS,
    listed,
    write,
)

Change = Callable[[Any], object]


def described(folder: Path) -> dict[str, Any]:
    """The description that loading reads."""
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        sealed = (file.metadata() or {}).get(KEY)
    return json.loads((folder / DESCRIPTION).read_text() if sealed is None else sealed.partition(" ")[2])


def edited(change: Change) -> Callable[[Path], None]:
    """``change(description)`` in place, with a right checksum."""

    def damage(folder: Path) -> None:
        description = described(folder)
        change(description)
        rewritten(folder, description, _tensors(folder))

    return damage


def with_tensors(change: Change) -> Callable[[Path], None]:
    """``change(tensors)`` in place, with right checksums."""

    def damage(folder: Path) -> None:
        description, tensors = described(folder), _tensors(folder)
        change(tensors)
        if description["format"] == FORMAT:
            known = {name: tensor for name, tensor in tensors.items() if tensor.dtype in TYPES.values()}
            description[TENSORS] = listed(known)
        rewritten(folder, description, tensors)

    return damage


def rewritten(folder: Path, description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """In the format that its files have."""
    if TENSORS in described(folder):
        write(folder / WEIGHTS, description, tensors)
    else:
        save_file(tensors, folder / WEIGHTS)
        (folder / DESCRIPTION).write_text(json.dumps(description))


def as_format(number: int, folder: Path) -> None:
    """As version ``number`` wrote it. The first kept bits in three places, and the options that a recipe
    takes."""
    description, tensors = described(folder), _tensors(folder)
    simulation = vq.load_quantized(folder).model.vitq
    description["format"] = number
    del description[TENSORS]
    if number == 1:
        description["recipe"]["applies"] = ["log_base"]
        sites = [*simulation.sites()]
        for row, site in zip(description["report"]["sites"], sites, strict=True):
            row["bits"] = description["quantizers"][str(site)]["bits"] = simulation.quantizer(site).bits
    save_file(tensors, folder / WEIGHTS)
    (folder / DESCRIPTION).write_text(json.dumps(description))


def _tensors(folder: Path) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in load_file(folder / WEIGHTS).items()}


def put(value: Any, *path: str | int) -> Change:
    """Sets what lies at ``path`` in nested tables and lists."""
    return lambda data: _at(data, path).__setitem__(path[-1], value)


def dropped(*path: str | int) -> Change:
    """Takes out what lies at ``path``."""
    return lambda data: _at(data, path).__delitem__(path[-1])


def _at(data: Any, path: Sequence[str | int]) -> Any:
    return reduce(getitem, path[:-1], data)
