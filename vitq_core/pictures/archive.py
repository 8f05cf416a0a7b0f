"""A folder of pictures, or a zip archive of one: the files in it and their bytes, without unpacking."""

import io
import os
import stat
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from ..common.files import given_path
from .decoding import MAX_BYTES
from .layout import is_hidden

ENCRYPTED = 1  # a bit of a member's flags
# Of the ways to pack that Python reads; its readers of these cannot be told to stop in time.
_METHODS = {12: "bzip2", 14: "LZMA", 93: "Zstandard"}

OFTEN = 500  # entries of folders from one call of `heard` to the next: some milliseconds on a disk

Heard = Callable[[int], None]  # told how many files were found so far; what it raises ends the looking


class Folder:
    """A directory on disk. Names are relative, with forward slashes. `name`: what sentences call it."""

    def __init__(self, path: Path, name: str = "") -> None:
        self.path, self.name = path, name or path.name or str(path)
        self._names: list[str] | None = None

    def names(self, heard: Heard | None = None) -> list[str]:
        """Every file under the folder that is not hidden nor in a hidden folder, sorted; looked for once.

        Links to folders are not followed. ValueError where the folder cannot be opened.
        """
        if self._names is None:
            self._names = sorted(self._find(heard or (lambda found: None)))
        return self._names

    def _find(self, heard: Heard) -> Iterator[str]:
        inside, looked_at, found = [""], count(), 0
        while inside:
            parent = inside.pop()
            for entry in self._entries(parent):
                if next(looked_at) % OFTEN == 0:
                    heard(found)
                if is_hidden(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    inside.append(f"{parent}{entry.name}/")
                elif _is_file(entry):
                    found += 1
                    yield parent + entry.name

    def _entries(self, parent: str) -> Iterator[os.DirEntry]:
        """Of the folder `parent` in this one; none where that may not be read."""
        try:
            with os.scandir(self.path / parent) as entries:
                yield from entries
        except OSError as error:
            if not parent:
                raise ValueError(f"{self.name} cannot be opened: {error.strerror}") from error

    def read(self, name: str) -> Path:
        """What `open_picture` takes; it looks at the size first."""
        return self.path / name


class Archive:
    """A zip archive, read member by member. Survives pickling, as workers of a DataLoader need it."""

    def __init__(self, path: Path, name: str = "") -> None:
        """ValueError for what is no zip archive, or one whose list of files has more than MAX_BYTES."""
        self.path, self.name = path, name or path.name
        try:
            self._zip = ZipFile(_Frugal(io.FileIO(path)))
        except (BadZipFile, OSError, NotImplementedError) as error:
            raise ValueError(f"{path.name} is not a zip archive that can be read: {error}") from error

    def names(self, heard: Heard | None = None) -> list[str]:
        """Every file in the archive, sorted. `heard` is not called: the list is in memory."""
        return sorted(info.filename for info in self._zip.infolist() if not info.is_dir())

    def read(self, name: str) -> bytes:
        """A member's bytes; ValueError when it is damaged, encrypted or too large to be a picture.

        Not more is unpacked than the member says it has, whatever is in it.
        """
        member = self._zip.getinfo(name)
        _check_member(member)
        try:
            with self._zip.open(member) as file:
                return file.read(member.file_size + 1)
        except Exception as error:  # BadZipFile, zlib.error, RuntimeError when encrypted, EOFError, …
            raise ValueError(f"{name} cannot be read from {self.path.name}: {error}") from error

    def __getstate__(self) -> dict:
        return {"path": self.path, "name": self.name}

    def __setstate__(self, state: dict) -> None:
        self.__init__(**state)


class _Frugal(io.BufferedReader):
    """Gives no more than a picture may have at once: zipfile reads the whole list of files in one go."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > MAX_BYTES + 1:
            raise BadZipFile(f"its list of files has more than {MAX_BYTES // 2**20} MB; zip fewer")
        return super().read(size)

    def __del__(self) -> None:
        self.close()


def _is_file(entry: os.DirEntry) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link in a circle, or to where nobody may look
        return False


def _check_member(member: ZipInfo) -> None:
    if member.file_size > MAX_BYTES:
        raise ValueError(
            f"{member.filename} has {member.file_size / 2**20:.1f} MB; "
            f"pictures may have at most {MAX_BYTES // 2**20} MB"
        )
    encrypted = member.flag_bits & ENCRYPTED  # zipfile says so itself
    if not encrypted and member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        method = _METHODS.get(member.compress_type, f"method {member.compress_type}")
        raise ValueError(
            f"{member.filename} is packed with {method}; only stored and deflated members can be read, "
            "zip it again"
        )


def open_storage(path: str | Path | Folder | Archive, name: str = "") -> Folder | Archive:
    """The folder or zip archive at `path`, which sentences call `name` (its last name by default).

    What is open already is given back. ValueError when it is neither, without opening what may hang.
    """
    if isinstance(path, (Folder, Archive)):
        return path
    path = given_path(path, "the folder or zip of pictures")
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ValueError(f"{path} cannot be opened: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        return Folder(path, name)
    if not stat.S_ISREG(mode):  # opening a pipe waits for somebody to write into it
        raise ValueError(
            f"{path} is neither a folder nor an ordinary file; name a folder or .zip of pictures"
        )
    return Archive(path, name)
