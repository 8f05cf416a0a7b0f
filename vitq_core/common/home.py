"""Where runs, caches and downloads live: `VITQ_HOME`, by default `~/.cache/vitq`."""

import os
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from .errors import StorageError
from .files import given_path


def vitq_home() -> Path:
    """The folder that `VITQ_HOME` names, created when asked for; StorageError where it cannot be.

    The variable is read at every call, so that a running program (or a test) may move it.
    """
    named = os.environ.get("VITQ_HOME") or "~/.cache/vitq"
    try:
        home = given_path(named, "VITQ_HOME", "folder")
    except ValueError as error:
        raise StorageError(
            f"{error}; set VITQ_HOME to a folder that can be written",
            "VITQ_HOME names no folder that can be written",
        ) from error
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"the folder for downloads and runs, {home}, cannot be created ({error.strerror}); "
            "set VITQ_HOME to a folder that can be written",
            f"the folder for downloads and runs cannot be created ({error.strerror})",
        ) from error
    return home


WEEK = 7 * 24 * 3600  # seconds


def scratch_folder() -> TemporaryDirectory:
    """A folder for activations, deleted at its end; those of programs that were killed go after a week."""
    forget_abandoned(vitq_home(), "scratch-*", WEEK)
    return TemporaryDirectory(prefix="scratch-", dir=vitq_home())


def forget_beyond(folders: list[Path], count: int, size: int) -> None:
    """Delete the oldest of ``folders`` until at most ``count`` of ``size`` bytes in all are left."""
    known = sorted(filter(None, map(_age_and_size, folders)), reverse=True)
    total = 0
    for place, (_, its_size, folder) in enumerate(known):
        total += its_size
        if place >= count or total > size:
            shutil.rmtree(folder, ignore_errors=True)


def _age_and_size(folder: Path) -> tuple[float, int, Path] | None:
    """(time of the last change, bytes, the folder); None for one that another process just deleted."""
    try:
        return folder.stat().st_mtime, sum(file.stat().st_size for file in folder.iterdir()), folder
    except OSError:
        return None


def forget_abandoned(parent: Path, pattern: str, seconds: float) -> None:
    """Delete the folders that nothing was written into for so long."""
    for folder in parent.glob(pattern):
        try:
            if time.time() - folder.stat().st_mtime > seconds:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # another process was faster
            continue
