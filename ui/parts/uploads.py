"""What visitors upload: one folder, bounded in bytes, in which the files used longest ago go first."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from .memory import MB, megabytes_named

LIMIT = "VITQ_UPLOADS_MB"
DEFAULT_MB = 4096
WRITING = 600  # seconds; a file directly in the folder is an upload that may still be coming in


class Uploads:
    """Gradio's folder `<folder>/<digest>/<name>`: uploads, and copies of what was shown or downloaded.

    `limit_mb`: what all files may take together, those that are still coming in too.
    """

    def __init__(self, folder: Path, limit_mb: float | None = None):
        """`limit_mb` None: VITQ_UPLOADS_MB, or the default; ValueError where that is no number above 0."""
        self.folder = folder
        self.limit = MB * (megabytes_named(LIMIT, DEFAULT_MB) if limit_mb is None else limit_mb)
        self._own: set[Path] = set()
        self._read: Counter[Path] = Counter()  # how many runs read a file
        self._coming: Counter[int] = Counter()  # {size: uploads of that size under way}
        self._lock = Lock()

    @contextmanager
    def read(self, paths: Iterable[str]) -> Iterator[None]:
        """Files of a run: they count as just used, and stay until its end."""
        files = Counter(path for path in map(Path, paths) if self.folder in path.parents)
        with self._lock:
            self._read += files
        for path in files:
            _touch(path)
        try:
            yield
        finally:
            with self._lock:
                self._read -= files

    @contextmanager
    def coming(self, size: int) -> Iterator[None]:
        """An upload of `size` bytes, for which there is room meanwhile.

        Raises ValueError where there cannot be any.
        """
        with self._lock:
            self._make_room(size)
            self._coming[size] += 1
        try:
            yield
        finally:
            with self._lock:
                self._coming -= Counter({size: 1})

    def keep_all(self) -> None:
        """What is in the folder now is the page's own, and stays."""
        with self._lock:
            self._own = {path for path in self.folder.rglob("*") if path.is_file()}

    def sweep(self) -> None:
        """Delete files until all together take no more than the limit."""
        with self._lock:
            self._delete(self.limit)

    def _make_room(self, size: int) -> None:
        if size > self.limit:
            raise ValueError(
                f"This upload of {size / MB:,.0f} MB is too large: the server keeps "
                f"{self.limit / MB:,.0f} MB of uploads in all. Upload fewer or smaller files."
            )
        coming = sum(size * times for size, times in self._coming.items())
        if self._delete(self.limit - coming - size) > self.limit - coming - size:
            raise ValueError("There is no room for this upload while others are read; try again in a minute.")

    def _delete(self, limit: float) -> int:
        """Delete what may go, oldest first, down to `limit` bytes; returns how many are left."""
        files = [(stat, path) for path in self.folder.rglob("*") if (stat := _stat(path)) is not None]
        left = sum(stat.st_size for stat, _ in files)
        for stat, path in sorted(files, key=lambda file: file[0].st_mtime_ns):
            if left <= limit:
                break
            if self._may_go(path, stat):
                path.unlink(missing_ok=True)
                left -= stat.st_size
                _remove_if_empty(path.parent, but=self.folder)
        return left

    def _may_go(self, path: Path, stat: os.stat_result) -> bool:
        comes_in = path.parent == self.folder and time.time() - stat.st_mtime < WRITING
        return not comes_in and not self._read[path] and path not in self._own


def _stat(path: Path) -> os.stat_result | None:
    """None for what is no file, or no longer one."""
    try:
        return path.stat() if path.is_file() else None
    except OSError:
        return None


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:  # gone: the sentence about that comes where it is read
        return


def _remove_if_empty(folder: Path, but: Path) -> None:
    try:
        if folder != but:
            folder.rmdir()
    except OSError:  # not empty
        return
