"""What a run leaves is given back."""

import gc
import os
import weakref
from collections.abc import Callable
from dataclasses import replace

import pytest

from ui.parts import memory
from ui.parts.memory import Memory
from ui.parts.settings import RunSettings
from ui.workbench import Workbench
from vitq_core.common import process_memory

SETTINGS = RunSettings("tiny", "minmax", calibration=2, held_out=2)


class Knot:
    def __init__(self) -> None:
        self.other = self


def test_cycles_are_freed_and_the_system_gets_its_pages(monkeypatch) -> None:
    asked = []
    libc = type("Libc", (), {"malloc_trim": lambda self, pad: asked.append(pad)})()
    monkeypatch.setattr(process_memory, "libc", lambda: libc)
    knot = weakref.ref(Knot())
    gc.disable()
    try:
        memory.give_back()
    finally:
        gc.enable()
    assert knot() is None and asked == [0]


def test_where_there_is_no_glibc_nothing_happens(monkeypatch) -> None:
    for module in (process_memory, memory):
        monkeypatch.setattr(module, "libc", lambda: None)
    memory.give_back()
    memory.bound_arenas()


def test_after_a_run_memory_is_given_back(bench, monkeypatch) -> None:
    from ui import workbench

    given = []
    monkeypatch.setattr(workbench, "give_back", lambda: given.append(True))
    bench.quantize(SETTINGS)
    assert given == [True]


@pytest.fixture
def resident(monkeypatch) -> Callable[[Memory, float], None]:
    """Makes the process take `base` MB and what the caches of a `Memory` hold."""

    def take(limited: Memory, base: float) -> None:
        monkeypatch.setattr(
            memory, "resident_mb", lambda: base + sum(cache.megabytes() for cache in limited._caches)
        )

    return take


def test_the_oldest_of_all_caches_goes_until_the_process_is_within_its_limit(resident) -> None:
    limited = Memory(limit_mb=100)
    small, large = limited.cache(weigh=lambda value: 1), limited.cache(weigh=lambda value: 20)
    resident(limited, base=50)
    for number in range(3):
        small.put(number, number)
        large.put(number, number)
    small.get(0)
    limited.keep_within()  # 50 + 3 + 60: the first large one goes, the first small one was used again
    assert [small.get(n) for n in range(3)] == [0, 1, 2]
    assert [large.get(n) for n in range(3)] == [None, 1, 2]


def test_the_newest_value_stays_however_much_the_process_takes(resident) -> None:
    limited = Memory(limit_mb=100)
    first, second = limited.cache(), limited.cache()
    resident(limited, base=500)
    first.put("a", 1)
    second.put("b", 2)
    first.put("c", 3)
    limited.keep_within()
    assert (first.get("a"), second.get("b"), first.get("c")) == (None, None, 3)


def test_what_is_quickly_made_again_goes_first_and_only_when_it_must(resident) -> None:
    limited, forgotten = Memory(limit_mb=100), []
    limited.forget_first(lambda: forgotten.append(True))
    kept = limited.cache(weigh=lambda value: 30)
    resident(limited, base=50)
    for number in range(2):
        kept.put(number, number)
        limited.keep_within()
        assert forgotten == [True] * number
    assert (kept.get(0), kept.get(1)) == (None, 1)


def test_where_the_system_does_not_say_it_the_sum_of_all_caches_counts(
    tiny_model, bench, monkeypatch
) -> None:
    monkeypatch.setattr(memory, "resident_mb", lambda: None)
    for seed in range(3):
        bench.quantize(replace(SETTINGS, seed=seed))
    taken = bench.memory.taken_mb()
    assert taken == pytest.approx(sum(kept.megabytes() for kept in bench.memory._caches))
    assert taken > 3 * 2  # each result twice a model, which counts as 1 MB at least
    assert bench._references.megabytes() > 0
    bench.memory.limit_mb = 5
    bench.quantize(replace(SETTINGS, seed=3))
    assert bench.memory.taken_mb() <= 5
    assert bench.outcome(replace(SETTINGS, seed=3)) is not None
    assert bench.outcome(replace(SETTINGS, seed=0)) is None


def test_a_run_that_takes_too_much_leaves_its_own_result_alone(bench, monkeypatch) -> None:
    first, second = (bench.quantize(replace(SETTINGS, seed=seed)).settings for seed in (0, 1))
    bench.memory.limit_mb = 1
    bench.quantize(replace(SETTINGS, seed=2))
    assert (bench.outcome(first), bench.outcome(second)) == (None, None)
    assert bench.outcome(replace(SETTINGS, seed=2)) is not None


def test_a_result_let_go_is_freed_without_the_collector(bench) -> None:
    outcome = bench.quantize(SETTINGS)
    model = outcome.result.model
    kept = [weakref.ref(one) for one in (outcome, model, model.vitq, *model.parameters())]
    del model
    gc.disable()
    try:
        bench._outcomes.let_oldest_go()
        assert all(one() is not None for one in kept)
        del outcome
        assert [one() for one in kept] == [None] * len(kept)
    finally:
        gc.enable()


def test_the_limit_is_an_environment_variable(monkeypatch) -> None:
    monkeypatch.setenv("VITQ_MEMORY_MB", "1234.5")
    assert Workbench().memory.limit_mb == 1234.5
    monkeypatch.setenv("VITQ_MEMORY_MB", "all")
    with pytest.raises(ValueError, match="VITQ_MEMORY_MB is 'all'; it must be a number of megabytes above 0"):
        Memory()
    monkeypatch.delenv("VITQ_MEMORY_MB")
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    assert 0 < Memory().limit_mb <= min(4096, machine / 2)


def test_resident_memory_is_this_processs_own() -> None:
    before = memory.resident_mb()
    block = bytearray(os.urandom(64)) * 2**20
    assert 60 < memory.resident_mb() - before < 80
    del block
