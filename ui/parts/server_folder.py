"""Where a server keeps its temporary files: one folder, deleted at its end, or by the next server."""

import os
import shutil
import tempfile
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows, where nothing is swept
    fcntl = None

PREFIX = "vitq-server-"
LOCK = "lock"


class ServerFolder:
    """A folder `vitq-server-<process id>-<start>-…`, whose lock the system gives back however it ends."""

    def __init__(self) -> None:
        sweep()
        name = f"{PREFIX}{os.getpid()}-{int(time.time())}-"
        self._folder = tempfile.TemporaryDirectory(prefix=name, ignore_cleanup_errors=True)
        self.path = Path(self._folder.name)
        # Locked before it has its name: a sweep never meets a live server's lock open.
        unnamed = self.path / f"{LOCK}.new"
        self._lock = unnamed.open("w")
        if fcntl is not None:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        unnamed.rename(self.path / LOCK)

    def folder(self, name: str) -> Path:
        """One in it, for files of one kind."""
        path = self.path / name
        path.mkdir(exist_ok=True)
        return path


def sweep() -> None:
    """Delete what killed servers left. The lock tells: a process id may be somebody else's by now."""
    if fcntl is None:
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            with (folder / LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # a live server's, another user's, or another sweep was faster
            continue
