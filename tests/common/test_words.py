"""Counts in words."""

from vitq_core.common.words import counted


def test_one_is_no_plural():
    assert [counted(n, "picture") for n in (0, 1, 2, 1024)] == [
        "0 pictures", "1 picture", "2 pictures", "1024 pictures"
    ]  # fmt: skip
    assert [counted(n, "class", "classes") for n in (1, 2)] == ["1 class", "2 classes"]
