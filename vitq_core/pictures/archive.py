"""A folder of pictures, or a zip archive of one: the files in it and their bytes, without unpacking."""

import io
import stat
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from ..common.files import given_path
from .decoding import MAX_BYTES

ENCRYPTED = 1  # a bit of a member's flags
# Of the ways to pack that Python reads; its readers of these cannot be told to stop in time.
_METHODS = {12: "bzip2", 14: "LZMA", 93: "Zstandard"}


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
        """ValueError for what is no zip archive, or one whose list of files has more than MAX_BYTES."""
        self.path = path
        try:
            self._zip = ZipFile(_Frugal(io.FileIO(path)))
        except (BadZipFile, OSError, NotImplementedError) as error:
            raise ValueError(f"{path.name} is not a zip archive that can be read: {error}") from error

    def names(self) -> list[str]:
        """Every file in the archive, sorted."""
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
        return {"path": self.path}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["path"])


class _Frugal(io.BufferedReader):
    """Gives no more than a picture may have at once: zipfile reads the whole list of files in one go."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > MAX_BYTES + 1:
            raise BadZipFile(f"its list of files has more than {MAX_BYTES // 2**20} MB; zip fewer")
        return super().read(size)

    def __del__(self) -> None:
        self.close()


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


def open_storage(path: str | Path) -> Folder | Archive:
    """The folder or zip archive at `path`; ValueError when it is neither, without opening what may hang."""
    path = given_path(path, "the folder or zip of pictures")
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ValueError(f"{path} cannot be opened: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        return Folder(path)
    if not stat.S_ISREG(mode):  # opening a pipe waits for somebody to write into it
        raise ValueError(
            f"{path} is neither a folder nor an ordinary file; name a folder or .zip of pictures"
        )
    return Archive(path)
