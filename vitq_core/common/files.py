"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from .errors import VitqError


def write_atomically(path: Path, write: Callable[[Path], object], what: str) -> None:
    """``write(temporary)`` beside ``path``, then rename. VitqError names ``what`` where that cannot be."""
    try:
        replace_file(path, write)
    except OSError as error:
        raise VitqError(f"{what} cannot be written to {path}: {error.strerror or error}") from error


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """``write(temporary)`` beside ``path``, then rename: a reader never sees half a file."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
