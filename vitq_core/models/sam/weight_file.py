"""The tensors in a file of weights, safetensors or torch's own format, whatever its name ends with."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ...common.errors import VitqError
from ..hub import brief

NESTED = ("model", "state_dict", "model_state_dict")  # what training programs call the weights
ZIP, PICKLE = b"PK\x03\x04", b"\x80"  # torch's format, and its format before version 1.6


def read_tensors(path: Path, name: str) -> dict[str, Tensor]:
    """{name: tensor} of the file at `path`, on the CPU, as they are stored.

    A table that holds them as `model`, `state_dict` or `model_state_dict` is opened. Raises VitqError with
    `name` and the reason; nothing in the file is run.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
        loaded = _load(path, start, name)
    except OSError as error:
        raise VitqError(
            f"the weights of {name} cannot be opened: {error.strerror or brief(error)}"
        ) from error
    return _weights_in(loaded, name)


def _load(path: Path, start: bytes, name: str) -> Any:
    if start[8:] == b"{":
        return _load_safetensors(path, name)
    if start.startswith(ZIP) and not _has_an_end(path):
        raise _incomplete(name, "its end is missing")
    if not start.startswith((ZIP, PICKLE)):
        raise VitqError(
            f"the weights of {name} are no file of weights, neither of torch nor of safetensors: "
            f"{'it is empty' if not start else 'perhaps a web page was saved instead'}"
        )
    return _load_pickle(path, name)


def _has_an_end(path: Path) -> bool:
    """Whether it closes as a zip does: a download that broke off lacks its table of contents."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False


def _load_safetensors(path: Path, name: str) -> Any:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise _incomplete(name, brief(error)) from error


def _load_pickle(path: Path, name: str) -> Any:
    """Only tensors and plain values: torch refuses what could run a program."""
    try:
        with path.open("rb") as file:  # by a path, torch would go by the end of its name
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise VitqError(
            f"the weights of {name} come with more than tensors, which could run any program and is not "
            "opened; save its state_dict() alone, or as safetensors"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # of a damaged file: RuntimeError, EOFError, KeyError, UnicodeDecodeError, …
        raise _incomplete(name, brief(error)) from error


def _incomplete(name: str, reason: str) -> VitqError:
    return VitqError(f"the weights of {name} are damaged or incomplete ({reason}); get the file again")


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
