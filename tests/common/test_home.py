"""Where files lie, and what is left there by programs that were killed."""

import os
import time

import vitq_core.common.home as home


def test_a_scratch_folder_is_in_vitq_home_and_goes_at_its_end(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("VITQ_HOME", str(tmp_path / "here"))
    with home.scratch_folder() as folder:
        assert os.path.dirname(folder) == str(tmp_path / "here") and os.path.isdir(folder)
    assert list((tmp_path / "here").iterdir()) == []


def test_only_what_was_left_long_ago_is_deleted(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("VITQ_HOME", str(tmp_path))
    ages = {"scratch-old": home.WEEK + 60, "scratch-recent": home.WEEK - 60, "models": 10 * home.WEEK}
    for name, age in ages.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    home.scratch_folder().cleanup()
    assert {path.name for path in tmp_path.iterdir()} == {"scratch-recent", "models"}
