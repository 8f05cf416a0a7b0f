"""The peak of a piece of work, and of no other before it."""

from pathlib import Path

import pytest
import torch

from vitq_core.common import process_memory as module
from vitq_core.common.process_memory import peak_memory

MB = 1_000_000
LINUX = pytest.mark.skipif(not module.RESET.exists(), reason="only Linux tells a process its peak")


def held(megabytes: int) -> None:
    torch.ones(megabytes * MB // 4)


@LINUX
def test_what_was_let_go_before_does_not_count() -> None:
    held(200)
    with peak_memory() as found:
        held(60)
    assert 50 * MB < found.host < 150 * MB and found.device is None


@LINUX
def test_what_was_let_go_inside_counts() -> None:
    with peak_memory() as found:
        held(120)
        held(10)
    assert found.host > 110 * MB


@LINUX
def test_work_does_not_hide_in_what_was_freed_before() -> None:
    small = [torch.ones(20_000) for _ in range(4_000)]  # 320 MB that the allocator likes to keep
    del small
    with peak_memory() as found:
        again = [torch.ones(20_000) for _ in range(1_000)]
        del again
    assert found.host > 70 * MB


def test_where_nobody_says_it_is_not_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "RESET", tmp_path / "none" / "clear_refs")
    with peak_memory() as found:
        held(1)
    assert found.host is None
