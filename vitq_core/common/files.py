"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from .errors import StorageError


def given_path(value: object, what: str, kind: str = "file or folder") -> Path:
    """The ``kind`` of thing that a caller names, `~` filled in; it need not exist.

    Raises ValueError, in one sentence about ``what``, for what can name neither.
    """
    if not isinstance(value, (str, Path)) or not str(value).strip() or "\0" in str(value):
        raise ValueError(f"{what} must be the name of a {kind}, got {value!r:.80}")
    try:
        path = Path(value).expanduser()
        path.stat()
    except RuntimeError as error:  # of `~somebody`
        raise ValueError(f"{what} names the home of an unknown user: {str(value)!r:.80}") from error
    except (FileNotFoundError, NotADirectoryError):
        return path
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it cannot be a file's name"
        raise ValueError(f"{what} cannot be opened ({reason}): {str(value)!r:.80}") from error
    return path


def write_atomically(path: Path, write: Callable[[Path], object], what: str) -> None:
    """``write(temporary)`` beside ``path``, then rename. StorageError names ``what`` where that cannot be."""
    try:
        replace_file(path, write)
    except OSError as error:
        raise StorageError(
            f"{what} cannot be written to {path}: {error.strerror or error}",
            f"{what} cannot be written: {error.strerror or 'the disk refused'}",
        ) from error


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
