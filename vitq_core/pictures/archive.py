"""A folder of pictures, or a zip archive of one: the files in it and their bytes, without unpacking."""

import stat
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from ..files import given_path
from .decoding import MAX_BYTES


class Folder:
    """A directory on disk. Names are relative, with forward slashes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Every file under the folder, sorted."""
        files = (path for path in self.path.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.path).as_posix() for path in files)

    def read(self, name: str) -> Path:
        """What `open_picture` takes; it looks at the size first."""
        return self.path / name


class Archive:
    """A zip archive, read member by member. Survives pickling, as workers of a DataLoader need it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = ZipFile(path)
        except (BadZipFile, OSError, NotImplementedError) as error:
            raise ValueError(f"{path.name} is not a zip archive that can be read: {error}") from error

    def names(self) -> list[str]:
        """Every file in the archive, sorted."""
        return sorted(info.filename for info in self._zip.infolist() if not info.is_dir())

    def read(self, name: str) -> bytes:
        """A member's bytes; ValueError when it is damaged, encrypted or too large to be a picture."""
        size = self._zip.getinfo(name).file_size
        if size > MAX_BYTES:
            raise ValueError(
                f"{name} has {size / 2**20:.1f} MB; pictures may have at most {MAX_BYTES // 2**20} MB"
            )
        try:
            return self._zip.read(name)
        except (
            Exception
        ) as error:  # BadZipFile, zlib.error, RuntimeError when encrypted, lzma's and bz2's own
            raise ValueError(f"{name} cannot be read from {self.path.name}: {error}") from error

    def __getstate__(self) -> dict:
        return {"path": self.path}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["path"])


def open_storage(path: str | Path) -> Folder | Archive:
    """The folder or zip archive at `path`; ValueError when it is neither."""
    path = given_path(path, "the folder or zip of pictures")
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ValueError(f"{path} cannot be opened: {error.strerror}") from error
    return Folder(path) if stat.S_ISDIR(mode) else Archive(path)
