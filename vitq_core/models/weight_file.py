"""What a file of weights holds, safetensors or torch's own format, whatever its name ends with."""

import argparse
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from ..common.errors import VitqError
from ..common.words import brief

SAFETENSORS = ".safetensors"
ZIP, PICKLE = b"PK\x03\x04", b"\x80"  # torch's format, and its format before version 1.6


def opened(path: Path, name: str) -> Any:
    """The tables of tensors, and what lies beside them, in the file at `path`; on the CPU, as stored.

    Tensors are parts of the file until they are copied: a large model is not in memory twice (only torch's
    format before version 1.6 cannot be read so). Raises VitqError with `name` and the reason; nothing in
    the file is run.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
        return _load(path, start, name)
    except OSError as error:
        raise VitqError(
            f"the weights of {name} cannot be opened: {error.strerror or brief(error)}"
        ) from error


def metadata_of(path: Path) -> dict[str, str]:
    """What a safetensors file says beside its tensors; nothing for every other file."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError):
        return {}


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
    return _load_pickle(path, start, name)


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


def _load_pickle(path: Path, start: bytes, name: str) -> Any:
    """Only tensors and plain values: torch refuses what could run a program.

    A training's arguments are plain values too, in a class of Python's own that does nothing.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return _mapped_or_read(path, start)
    except pickle.UnpicklingError as error:
        raise VitqError(
            f"the weights of {name} come with more than tensors, which could run any program and is not "
            "opened; save its state_dict() alone, or as safetensors"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # of a damaged file: RuntimeError, EOFError, KeyError, UnicodeDecodeError, …
        raise _incomplete(name, brief(error)) from error


def _mapped_or_read(path: Path, start: bytes) -> Any:
    # By a path, as mapping needs it, torch would go by the end of its name.
    if start.startswith(ZIP) and path.suffix.lower() != SAFETENSORS:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    with path.open("rb") as file:
        return torch.load(file, map_location="cpu", weights_only=True)


def _incomplete(name: str, reason: str) -> VitqError:
    return VitqError(f"the weights of {name} are damaged or incomplete ({reason}); get the file again")
