"""Files appear whole or not at all: failing, full, killed in the middle."""

import errno
import os
import pickle
import signal
from pathlib import Path

import pytest

import vitq_core as vq
from vitq_core.common.files import replace_file, write_atomically


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file with content, alone in its folder."""
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "state.json"
    path.write_text("old")
    return path


def failing(error: BaseException):
    """Writes half, then fails."""

    def write(path: Path) -> None:
        path.write_text("ha")
        raise error

    return write


def only(path: Path) -> bool:
    return [p.name for p in path.parent.iterdir()] == [path.name]


def test_what_was_written_takes_the_place_of_the_old(old: Path) -> None:
    seen = []

    def write(path: Path) -> None:
        seen.append(old.read_text())
        path.write_text("new")
        seen.append(old.read_text())

    write_atomically(old, write, "the state")
    assert seen == ["old", "old"], "the old one is there until the new one is whole"
    assert old.read_text() == "new" and only(old)
    assert old.stat().st_mode & 0o777 == 0o644, "readable for others, unlike a temporary file"


def test_a_new_file_appears(old: Path) -> None:
    old.unlink()
    write_atomically(old, lambda path: path.write_bytes(b"\0"), "the state")
    assert old.read_bytes() == b"\0" and only(old)


def test_the_current_folder_will_do(old: Path, monkeypatch) -> None:
    monkeypatch.chdir(old.parent)
    write_atomically(Path("state.json"), lambda path: path.write_text("new"), "the state")
    assert old.read_text() == "new" and only(old)


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), MemoryError()], ids=repr)
@pytest.mark.parametrize("function", [replace_file, lambda p, w: write_atomically(p, w, "the state")])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(old: Path, error, function) -> None:
    with pytest.raises(type(error)):
        function(old, failing(error))
    assert old.read_text() == "old" and only(old)


@pytest.mark.parametrize(("code", "said"), [(errno.ENOSPC, "No space left"), (errno.EIO, "Input/output")])
def test_a_full_disk_is_a_sentence(old: Path, code: int, said: str) -> None:
    with pytest.raises(vq.StorageError, match=f"the weights cannot be written to {old}: {said}") as caught:
        write_atomically(old, failing(OSError(code, os.strerror(code))), "the weights")
    assert caught.value.public == f"the weights cannot be written: {os.strerror(code)}"
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (str(copied), copied.public) == (str(caught.value), caught.value.public)
    assert old.read_text() == "old" and only(old)


def test_an_error_without_a_reason_is_still_told(old: Path) -> None:
    with pytest.raises(vq.VitqError, match=r"cannot be written .*: odd disk"):
        write_atomically(old, failing(OSError("odd disk")), "the weights")
    assert only(old)


@pytest.mark.parametrize("where", ["nowhere/state.json", "state.json/below", "n" * 300])
def test_a_place_where_no_file_can_be_is_a_sentence(old: Path, where: str) -> None:
    with pytest.raises(vq.VitqError, match="the state cannot be written to"):
        write_atomically(old.parent / where, lambda path: path.write_text("new"), "the state")
    assert old.read_text() == "old" and only(old)


def test_a_folder_that_refuses_is_a_sentence(old: Path, monkeypatch) -> None:
    """Root may write everywhere, so the refusal is played."""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("vitq_core.common.files.tempfile.mkstemp", refused)
    with pytest.raises(vq.VitqError, match=r"the state cannot be written .*: Permission denied"):
        write_atomically(old, lambda path: path.write_text("new"), "the state")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_in_the_middle_the_old_file_stays(old: Path) -> None:
    child = os.fork()
    if child == 0:  # pragma: no cover

        def write(path: Path) -> None:
            path.write_text("ha")
            os.kill(os.getpid(), signal.SIGKILL)

        write_atomically(old, write, "the state")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert old.read_text() == "old"
