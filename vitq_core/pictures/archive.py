"""A folder of pictures, or a zip archive of one: the files in it and their bytes, without unpacking."""

import io
import os
import stat
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from ..common.files import given_path
from .decoding import MAX_BYTES
from .kinds import HEAD
from .listing import OFTEN, Heard, Listing, is_hidden, system_part

__all__ = ["OFTEN", "Archive", "Folder", "Heard", "open_storage"]

ENCRYPTED = 1  # a bit of a member's flags
UNICODE = 0x800  # another: its name is UTF-8
# Of the ways to pack that Python reads; its readers of these cannot be told to stop in time.
_METHODS = {12: "bzip2", 14: "LZMA", 93: "Zstandard"}
# Folders of the system's state, which have no end.
_NO_FILES = tuple(map(Path, ("/proc", "/sys", "/dev")))
LINKED = "link to a folder that is searched anyway or holds this one"
NOWHERE = "link that leads to no file or folder"
CLOSED = "folder that may not be opened"
TWICE = "file that another one of its name in the zip replaces"


class Folder(Listing):
    """A directory on disk. Links to folders are followed, each folder once."""

    def __init__(self, path: Path, name: str = "") -> None:
        super().__init__()
        self.path, self.name = path, name or path.name or str(path)

    def _find(self, heard: Heard) -> Iterator[str]:
        """ValueError where the folder cannot be opened.

        Links come last, by depth and name: a folder that lies here and is linked to keeps its own name.
        """
        looked_at, found, seen = count(), 0, {self._real("")}
        inside, links = [""], []
        while inside or links:
            parent = inside.pop() if inside else self._followed(heappop(links)[1], seen)
            for entry in self._entries(parent) if parent is not None else ():
                if next(looked_at) % OFTEN == 0:
                    heard(found)
                if is_hidden(entry.name):
                    self.left_out.system[_kind_of_system(entry.name)] += 1
                elif entry.is_dir(follow_symlinks=False):
                    inside.append(f"{parent}{entry.name}/")
                    seen.add(self._real(inside[-1]))
                elif _is(entry, "is_dir"):
                    heappush(links, (parent.count("/"), f"{parent}{entry.name}/"))
                elif _is(entry, "is_file"):
                    found += 1
                    yield parent + entry.name
                elif entry.is_symlink():
                    self.left_out.unreachable[NOWHERE] += 1

    def _real(self, inside: str) -> str:
        return os.path.realpath(self.path / inside)

    def _followed(self, link: str, seen: set[str]) -> str | None:
        """`link` where it leads to a folder that nothing else led to, and that does not hold this one."""
        real = self._real(link)
        above = Path(real) in Path(self._real("")).parents
        if real in seen or above or any(Path(real).is_relative_to(place) for place in _NO_FILES):
            self.left_out.unreachable[LINKED] += 1
            return None
        seen.add(real)
        return link

    def _entries(self, parent: str) -> Iterator[os.DirEntry]:
        """Of the folder `parent` in this one; none where that may not be read."""
        try:
            with os.scandir(self.path / parent) as entries:
                yield from entries
        except OSError as error:
            if not parent:
                raise ValueError(f"{self.name} cannot be opened: {error.strerror}") from error
            self.left_out.unreachable[CLOSED] += 1

    def head(self, name: str) -> bytes:
        try:
            with (self.path / name).open("rb") as file:
                return file.read(HEAD)
        except OSError:
            return b""

    def read(self, name: str) -> Path:
        """What `open_picture` takes; it looks at the size first."""
        return self.path / name


class Archive(Listing):
    """A zip archive, read member by member. Survives pickling, as workers of a DataLoader need it."""

    def __init__(self, path: Path, name: str = "") -> None:
        """ValueError for what is no zip archive, or one whose list of files has more than MAX_BYTES."""
        super().__init__()
        self.path, self.name = path, name or path.name
        try:
            self._zip = ZipFile(_Frugal(io.FileIO(path)))
        except (BadZipFile, OSError, NotImplementedError) as error:
            raise ValueError(f"{path.name} is not a zip archive that can be read: {error}") from error
        self._members = self._by_name()

    def _by_name(self) -> dict[str, ZipInfo]:
        """{name as a folder would have it: member}; old archivers put backslashes between folders."""
        infos = [info for info in self._zip.infolist() if not info.is_dir()]
        names = [_decoded(info) for info in infos]
        backslashes = not any("/" in name for name in names)
        members = {}
        for name, info in zip(names, infos, strict=True):
            parts = (name.replace("\\", "/") if backslashes else name).split("/")
            members["/".join(part for part in parts if part not in ("", "."))] = info
        self._replaced = len(infos) - len(members)
        return members

    def _find(self, heard: Heard) -> Iterator[str]:
        """`heard` is not called: the list is in memory."""
        if self._replaced:
            self.left_out.unreachable[TWICE] = self._replaced
        for path in {_up_to_system(name) for name in self._members if is_hidden(name)}:
            self.left_out.system[_kind_of_system(path.rpartition("/")[2])] += 1
        yield from (name for name in self._members if not is_hidden(name))

    def head(self, name: str) -> bytes:
        try:
            return self._read(name, HEAD)
        except ValueError:
            return b""

    def read(self, name: str) -> bytes:
        """A member's bytes; ValueError when it is damaged, encrypted or too large to be a picture.

        Not more is unpacked than the member says it has, whatever is in it.
        """
        return self._read(name, self._members[name].file_size + 1)

    def _read(self, name: str, most: int) -> bytes:
        member = self._members[name]
        _check_member(member, name)
        try:
            with self._zip.open(member) as file:
                return file.read(most)
        except Exception as error:  # BadZipFile, zlib.error, RuntimeError when encrypted, EOFError, …
            raise ValueError(f"{name} cannot be read from {self.path.name}: {error}") from error

    def __getstate__(self) -> dict:
        return {"path": self.path, "name": self.name}

    def __setstate__(self, state: dict) -> None:
        self.__init__(**state)


def _decoded(info: ZipInfo) -> str:
    """A member's name: macOS writes UTF-8 and does not say so, which Python takes for the letters of DOS."""
    if info.flag_bits & UNICODE:
        return info.filename
    try:
        return info.filename.encode("cp437").decode()
    except UnicodeError:
        return info.filename


def _up_to_system(name: str) -> str:
    """A path up to the folder or file that a system made."""
    parts = name.split("/")
    return "/".join(parts[: parts.index(system_part(name)) + 1])


def _kind_of_system(part: str) -> str:
    """Of what macOS keeps beside every file there is one for each."""
    return "._*" if part.startswith("._") else part


class _Frugal(io.BufferedReader):
    """Gives no more than a picture may have at once: zipfile reads the whole list of files in one go."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > MAX_BYTES + 1:
            raise BadZipFile(f"its list of files has more than {MAX_BYTES // 2**20} MB; zip fewer")
        return super().read(size)

    def __del__(self) -> None:
        self.close()


def _is(entry: os.DirEntry, what: str) -> bool:
    """`is_file` or `is_dir`, links followed."""
    try:
        return getattr(entry, what)()
    except OSError:  # a link in a circle, or to where nobody may look
        return False


def _check_member(member: ZipInfo, name: str) -> None:
    if member.file_size > MAX_BYTES:
        raise ValueError(
            f"{name} has {member.file_size / 2**20:.1f} MB; pictures may have at most {MAX_BYTES // 2**20} MB"
        )
    encrypted = member.flag_bits & ENCRYPTED  # zipfile says so itself
    if not encrypted and member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        method = _METHODS.get(member.compress_type, f"method {member.compress_type}")
        raise ValueError(
            f"{name} is packed with {method}; only stored and deflated members can be read, zip it again"
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
