"""A large file from a real server: whole or not at all, gone on with where it broke off."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

import vitq_core as vq
from vitq_core.common.monitor import Monitor
from vitq_core.models import download as module
from vitq_core.models.download import download

from .file_server import FileServer

DATA = bytes(range(256)) * 40_000  # 10.24 MB
SUM = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "*")
    server = FileServer({"sam.pth": DATA})
    yield server
    server.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "sam" / "sam.pth"


def fetch(server: FileServer, path: Path, monitor: Monitor | None = None, sha256: str = SUM) -> Path:
    return download(f"{server.address}/{path.name}", path, sha256, len(DATA), monitor or Monitor())


def files(path: Path) -> list[str]:
    """Beside `path`, without the lock, which may stay."""
    return sorted(file.name for file in path.parent.iterdir() if file.suffix != ".lock")


def part_of(path: Path) -> Path:
    return path.with_name("sam.pth.part")


def test_a_file_is_there_once_it_is_whole(server: FileServer, path: Path) -> None:
    told = []
    assert fetch(server, path, Monitor(lambda *said: told.append(said))) == path
    assert path.read_bytes() == DATA and files(path) == ["sam.pth"]
    assert told[0] == (0.0, "Downloading sam.pth: 0 of 10 MB") and told[-1] == (1.0, "Checking sam.pth")
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)
    fetch(server, path)
    assert server.requests == [("sam.pth", "")]


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
def test_what_broke_off_is_gone_on_with(server: FileServer, path: Path, ranges: bool) -> None:
    server.stop_after, server.ranges = 3_000_000, ranges
    with pytest.raises(vq.VitqError, match=r"sam.pth broke off after 3 of 10 MB; try again, it goes on from"):
        fetch(server, path)
    assert part_of(path).read_bytes() == DATA[:3_000_000] and not path.exists()
    server.stop_after, told = None, []
    fetch(server, path, Monitor(lambda *said: told.append(said)))
    assert path.read_bytes() == DATA and not part_of(path).exists()
    assert server.requests[-1] == ("sam.pth", "bytes=3000000-")
    assert told[0][1] == "Downloading sam.pth: 3 of 10 MB"


def test_a_file_that_was_whole_but_not_yet_checked_is_only_checked(server: FileServer, path: Path) -> None:
    path.parent.mkdir(parents=True)
    part_of(path).write_bytes(DATA)
    assert fetch(server, path).read_bytes() == DATA


def test_a_server_that_does_not_say_how_much_comes_is_believed_by_the_sum(
    server: FileServer, path: Path
) -> None:
    server.sized, server.stop_after = False, 3_000_000
    with pytest.raises(vq.VitqError, match="is not the published"):
        fetch(server, path)
    server.stop_after = None
    assert fetch(server, path).read_bytes() == DATA


@pytest.mark.parametrize("begun", [b"", b"another beginning", DATA + b"more"])
def test_another_file_is_deleted(server: FileServer, path: Path, begun: bytes) -> None:
    path.parent.mkdir(parents=True)
    if begun:
        part_of(path).write_bytes(begun)
    else:
        server.files["sam.pth"] = b"<html>" * 1000
    with pytest.raises(vq.VitqError, match=r"127.0.0.1 sent is not the published sam.pth .* it was deleted"):
        fetch(server, path)
    assert files(path) == []
    server.files["sam.pth"] = DATA
    assert fetch(server, path).read_bytes() == DATA


@pytest.mark.parametrize(("status", "said"), [(404, r"error 404\)$"), (503, "error 503.*try again later")])
def test_a_refusal_is_a_sentence(server: FileServer, path: Path, status: int, said: str) -> None:
    server.status = status
    with pytest.raises(vq.VitqError, match=f"127.0.0.1 did not give sam.pth .{said}"):
        fetch(server, path)
    assert not path.exists()


def test_no_network_is_a_sentence_with_the_size(server: FileServer, path: Path) -> None:
    server.close()
    said = r"sam.pth \(10 MB\) is not downloaded yet and 127.0.0.1 cannot be reached; pick a bundled model"
    with pytest.raises(vq.VitqError, match=said):
        fetch(server, path)
    with pytest.raises(vq.VitqError, match="cannot be reached"):
        download("no address", path, SUM, len(DATA), Monitor())


def test_a_cancelled_download_keeps_what_there_is(server: FileServer, path: Path) -> None:
    told = []
    monitor = Monitor(lambda *said: told.append(said), lambda: len(told) > 4)
    with pytest.raises(vq.Cancelled, match=r"the next download of sam.pth goes on from here"):
        fetch(server, path, monitor)
    kept = part_of(path).read_bytes()
    assert 0 < len(kept) < len(DATA) and DATA.startswith(kept)
    assert fetch(server, path).read_bytes() == DATA
    assert server.requests[-1] == ("sam.pth", f"bytes={len(kept)}-")


def test_two_programs_do_not_write_into_one_file(server: FileServer, path: Path) -> None:
    path.parent.mkdir(parents=True)
    with FileLock(path.with_name("sam.pth.lock")):
        with pytest.raises(vq.VitqError, match=r"another program is downloading sam.pth just now"):
            fetch(server, path)
        assert not part_of(path).exists()
    assert fetch(server, path).read_bytes() == DATA


def test_a_full_disk_is_said_before_anything_comes(
    server: FileServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9, 4, 5_000_000))
    with pytest.raises(vq.StorageError, match=r"no room for sam.pth .*10 MB are needed and 5 MB are free"):
        fetch(server, path)
    assert not path.exists() and not part_of(path).exists()


def test_a_folder_that_cannot_be_made_is_a_sentence(server: FileServer, path: Path) -> None:
    path.parent.parent.mkdir()
    path.parent.touch()
    with pytest.raises(vq.StorageError, match=r"sam.pth cannot be written to .*File exists"):
        fetch(server, path)
