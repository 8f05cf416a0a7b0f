"""Uploads are bounded in bytes: the files used longest ago go first, those of a run never."""

import os
from pathlib import Path

import pytest

from ui.parts.memory import MB
from ui.parts.uploads import Uploads


def a_file(folder: Path, name: str, megabytes: int, age: int) -> Path:
    """As Gradio keeps an upload, last changed `age` seconds ago."""
    path = folder / f"digest-of-{name}" / name
    path.parent.mkdir()
    path.write_bytes(bytes(megabytes * MB))
    before = path.stat().st_mtime - age
    os.utime(path, (before, before))
    return path


@pytest.fixture
def uploads(tmp_path) -> Uploads:
    return Uploads(tmp_path, limit_mb=4)


def test_the_oldest_go_until_all_fit(uploads, tmp_path):
    old, middle, new = (a_file(tmp_path, f"{age}.png", 2, age) for age in (300, 200, 100))
    uploads.sweep()
    assert [path.exists() for path in (old, middle, new)] == [False, True, True]
    assert not old.parent.exists()
    uploads.sweep()
    assert middle.exists()


def test_what_a_run_reads_stays_and_counts_as_just_used(uploads, tmp_path):
    old, middle, new = (a_file(tmp_path, f"{age}.png", 2, age) for age in (300, 200, 100))
    with uploads.read([str(old)]):
        os.utime(old, (1, 1))  # the oldest by far, and yet
        uploads.sweep()
        assert [path.exists() for path in (old, middle, new)] == [True, False, True]
    with uploads.read([str(old)]):
        pass
    a_file(tmp_path, "newest.png", 2, 0)
    uploads.sweep()
    assert (old.exists(), new.exists()) == (True, False)


def test_the_pages_own_files_stay(uploads, tmp_path):
    own = a_file(tmp_path, "own.png", 1, 9000)
    uploads.keep_all()
    other = a_file(tmp_path, "other.png", 4, 1)
    uploads.sweep()
    assert (own.exists(), other.exists()) == (True, False)


def test_files_elsewhere_are_not_touched(uploads, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "a.png"
    elsewhere.write_bytes(b"x")
    os.utime(elsewhere, (1, 1))
    with uploads.read([str(elsewhere), str(elsewhere) + " gone"]):
        assert elsewhere.stat().st_mtime == 1


def test_room_is_made_for_an_upload_and_counts_until_it_has_come(uploads, tmp_path):
    kept = a_file(tmp_path, "kept.png", 1, 100)
    gone = a_file(tmp_path, "gone.png", 2, 200)
    with uploads.coming(2 * MB):
        assert (kept.exists(), gone.exists()) == (True, False)
        with uploads.coming(2 * MB):
            assert not kept.exists()
            with (
                pytest.raises(ValueError, match="no room for this upload while others are read"),
                uploads.coming(1),
            ):
                pass
    with uploads.coming(4 * MB):
        pass


def test_an_upload_that_can_never_fit_deletes_nothing(uploads, tmp_path):
    kept = a_file(tmp_path, "kept.png", 1, 100)
    with (
        pytest.raises(ValueError, match="upload of 5 MB is too large: the server keeps 4 MB"),
        uploads.coming(5 * MB),
    ):
        pass
    assert kept.exists()


def test_what_still_comes_in_is_not_deleted_and_what_was_broken_off_is(uploads, tmp_path):
    coming, broken = tmp_path / "tmp1", tmp_path / "tmp2"
    for path, age in ((coming, 60), (broken, 6000)):
        path.write_bytes(bytes(3 * MB))
        before = path.stat().st_mtime - age
        os.utime(path, (before, before))
    uploads.sweep()
    assert (coming.exists(), broken.exists()) == (True, False)


@pytest.mark.parametrize("text", ["much", "0", "-1", "inf", "nan"])
def test_a_limit_that_is_none_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.setenv("VITQ_UPLOADS_MB", text)
    with pytest.raises(ValueError, match=r"VITQ_UPLOADS_MB .* must be a number of megabytes above 0"):
        Uploads(tmp_path)
    monkeypatch.setenv("VITQ_UPLOADS_MB", "2.5")
    assert Uploads(tmp_path).limit == 2.5 * MB
