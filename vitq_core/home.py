"""Where runs, caches and downloads live: `VITQ_HOME`, by default `~/.cache/vitq`."""

import os
from pathlib import Path

from .errors import VitqError


def vitq_home() -> Path:
    """The folder that `VITQ_HOME` names, created when asked for; VitqError where it cannot be.

    The variable is read at every call, so that a running program (or a test) may move it.
    """
    home = Path(os.environ.get("VITQ_HOME") or Path.home() / ".cache" / "vitq").expanduser()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VitqError(
            f"the folder for downloads and runs, {home}, cannot be created ({error.strerror}); "
            "set VITQ_HOME to a folder that can be written"
        ) from error
    return home
