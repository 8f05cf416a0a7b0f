"""The tensors of a Segment Anything's file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...common.errors import VitqError
from ..weight_file import opened

NESTED = ("model", "state_dict", "model_state_dict")  # what training programs call the weights


def read_tensors(path: Path, name: str) -> dict[str, Tensor]:
    """{name: tensor} of the file at `path`, on the CPU, as they are stored.

    A table that holds them as `model`, `state_dict` or `model_state_dict` is opened. Raises VitqError with
    `name` and the reason; nothing in the file is run.
    """
    return _weights_in(opened(path, name), name)


def _weights_in(loaded: Any, name: str) -> dict[str, Tensor]:
    """`loaded` itself where it holds tensors by name, else the one table in it that does."""
    tables = [loaded, *(loaded.get(key) for key in NESTED)] if isinstance(loaded, Mapping) else []
    found = [table for table in tables if _holds_tensors(table)]
    if len(found) != 1:
        held = "no tensors by name" if not found else "several tables of tensors"
        raise VitqError(f"the weights of {name} cannot be told: the file holds {held}; save one state_dict()")
    return {key: value for key, value in found[0].items() if isinstance(value, Tensor)}


def _holds_tensors(table: Any) -> bool:
    return isinstance(table, Mapping) and any(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in table.items()
    )
