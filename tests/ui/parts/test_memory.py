"""What a run leaves is given back."""

import gc
import weakref

from ui.parts import memory


class Knot:
    def __init__(self) -> None:
        self.other = self


def test_cycles_are_freed_and_the_system_gets_its_pages(monkeypatch) -> None:
    asked = []
    libc = type("Libc", (), {"malloc_trim": lambda self, pad: asked.append(pad)})()
    monkeypatch.setattr(memory, "_libc", lambda: libc)
    knot = weakref.ref(Knot())
    gc.disable()
    try:
        memory.give_back()
    finally:
        gc.enable()
    assert knot() is None and asked == [0]


def test_where_there_is_no_glibc_nothing_happens(monkeypatch) -> None:
    monkeypatch.setattr(memory, "_libc", lambda: None)
    memory.give_back()
    memory.bound_arenas()


def test_after_a_run_memory_is_given_back(bench, monkeypatch) -> None:
    from ui import workbench
    from ui.parts.settings import RunSettings

    given = []
    monkeypatch.setattr(workbench, "give_back", lambda: given.append(True))
    bench.quantize(RunSettings("tiny", "minmax", calibration=2, held_out=2))
    assert given == [True]
