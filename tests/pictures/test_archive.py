"""Archives and folders that want to fill the memory or wait for ever are refused with a sentence."""

import gc
import os
import socket
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from vitq_core.pictures.archive import OFTEN, Archive, Folder, open_storage
from vitq_core.pictures.decoding import MAX_BYTES

BOMB = 2 * MAX_BYTES
LITTLE = 2 * 2**20  # what refusing may cost


def packed(path: Path, method: int, size: int = BOMB, declared: int | None = None) -> Archive:
    """An archive of one member of zeros, `cat.png`, that says it has `declared` bytes."""
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("cat.png", bytes(size))
    if declared is not None:
        data = bytearray(path.read_bytes())
        for place in (22, data.rindex(b"PK\1\2") + 24):  # before the member and in the list of files
            assert data[place : place + 4] == struct.pack("<I", size)
            data[place : place + 4] = struct.pack("<I", declared)
        path.write_bytes(data)
    return Archive(path)


def peak_of(call: Callable[[], object]) -> int:
    """Bytes that Python had at most while `call` ran."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refused(archive: Archive, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        archive.read("cat.png")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_is_read_whole_up_to_the_limit(tmp_path: Path, method: int) -> None:
    assert packed(tmp_path / "a.zip", method, MAX_BYTES).read("cat.png") == bytes(MAX_BYTES)
    refused(packed(tmp_path / "b.zip", method, MAX_BYTES + 1), "cat.png has 20.0 MB; .* at most 20 MB")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_no_more_is_unpacked_than_a_member_says_it_has(tmp_path: Path, method: int) -> None:
    archive = packed(tmp_path / "a.zip", method, declared=1000)
    assert peak_of(lambda: refused(archive, "cat.png cannot be read from a.zip: Bad CRC")) < LITTLE


@pytest.mark.parametrize(("method", "name"), [(zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "LZMA")])
def test_members_whose_readers_cannot_stop_are_not_read(tmp_path: Path, method: int, name: str) -> None:
    archive = packed(tmp_path / "a.zip", method, declared=1000)
    sentence = f"cat.png is packed with {name}; only stored and deflated members can be read, zip it again"
    assert peak_of(lambda: refused(archive, sentence)) < LITTLE


def test_unknown_methods_and_encrypted_members_get_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    packed(path, zipfile.ZIP_STORED, 1000)
    data = bytearray(path.read_bytes())
    start = data.rindex(b"PK\1\2")
    data[start + 10] = 77
    path.write_bytes(data)
    refused(Archive(path), "packed with method 77")
    data[start + 8] |= 1
    data[6] |= 1
    path.write_bytes(data)
    refused(Archive(path), "cat.png cannot be read from a.zip: .*encrypted")


def test_a_list_of_files_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    name = b"x" * 60_000
    entry = b"PK\1\2" + struct.pack("<4B4HL2L5H2L", *[0] * 11, len(name), *[0] * 6) + name
    count = MAX_BYTES // len(entry) + 1
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, count * len(entry), 0, 0)
    path.write_bytes(entry * count + end)
    with pytest.raises(ValueError, match=r"a.zip is not a zip .* its list of files has more than 20 MB"):
        Archive(path)


def test_closing_is_not_left_to_python(tmp_path: Path) -> None:
    """A forgotten archive closes its file without a warning."""
    archive = packed(tmp_path / "a.zip", zipfile.ZIP_STORED, 10)
    archive.read("cat.png")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        del archive
        gc.collect()
    assert not [warning for warning in seen if "a.zip" in str(warning.message)]


@pytest.fixture
def special(tmp_path: Path) -> list[Path]:
    """A pipe nobody writes into, a socket and a device."""
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(".", os.O_RDONLY)
        os.chdir(tmp_path)  # the address of a socket must be short
        listener.bind("socket.png")
        os.fchdir(here)
        os.close(here)
    (tmp_path / "device.png").symlink_to("/dev/zero")
    return [tmp_path / f"{name}.png" for name in ("pipe", "socket", "device")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
@pytest.mark.usefixtures("no_waiting")
def test_pipes_and_devices_are_no_storage_and_no_files_of_a_folder(special: list[Path]) -> None:
    for path in special:
        with pytest.raises(
            ValueError, match=r"neither a folder nor an ordinary file; name a folder or \.zip"
        ):
            open_storage(path)
    assert Folder(special[0].parent).names() == []


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Three folders of more files than are looked at between two questions, and a hidden one."""
    for folder in ("a", "b/c", "d", ".hidden/e"):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(OFTEN):
            (tmp_path / folder / f"{number}.png").touch()
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    return tmp_path


def test_a_folder_is_listed_without_what_is_hidden_and_says_how_far_it_is(many: Path) -> None:
    heard: list[int] = []
    names = Folder(many).names(heard.append)
    assert names == sorted(f"{folder}/{i}.png" for folder in ("a", "b/c", "d") for i in range(OFTEN))
    assert len(heard) == 4 and heard == sorted(heard) and heard[0] == 0 < heard[-1] < len(names)


def test_listing_ends_where_the_listener_says_so_and_begins_anew(many: Path) -> None:
    folder, heard = Folder(many), []

    def stop(found: int) -> None:
        heard.append(found)
        if len(heard) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        folder.names(stop)
    assert heard[-1] <= OFTEN
    assert len(folder.names()) == 3 * OFTEN


def test_a_folder_is_listed_once(many: Path) -> None:
    folder = Folder(many)
    first = folder.names()
    (many / "late.png").touch()
    assert folder.names() == first and "late.png" in Folder(many).names()


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="my pictures cannot be opened: No such file"):
        Folder(tmp_path / "gone", "my pictures").names()
