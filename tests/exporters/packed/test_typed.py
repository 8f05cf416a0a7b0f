"""JSON becomes dataclasses with every value checked."""

from dataclasses import dataclass

import pytest

from vitq_core.exporters.packed.typed import typed


@dataclass(frozen=True)
class Inner:
    name: str
    share: float = 0.5


@dataclass(frozen=True)
class Outer:
    count: int
    inner: tuple[Inner, ...]
    done: bool = False
    seed: int | None = None


def test_nested_records_are_made() -> None:
    made = typed(Outer, {"count": 3, "inner": [{"name": "a"}, {"name": "b", "share": 1}]}, "it")
    assert made == Outer(3, (Inner("a"), Inner("b", 1)))
    assert typed(Outer, {"count": 3, "inner": [], "seed": -(2**63)}, "it").seed == -(2**63)
    assert typed(Outer, {"count": 3, "inner": [], "seed": None}, "it").seed is None


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], "it must be a table of Outer, got"),
        ({"count": 1}, "it lacks 'inner'"),
        ({"count": 1, "inner": [], "more": 1}, "it has an unknown field 'more'"),
        ({"count": 1, "inner": {}}, "it.inner must be a list, got {}"),
        ({"count": True, "inner": []}, "it.count must be a count, got True"),
        ({"count": 1.0, "inner": []}, "it.count must be a count, got 1.0"),
        ({"count": -1, "inner": []}, "it.count must be a count, got -1"),
        ({"count": 10**30, "inner": []}, "it.count must be a count"),
        ({"count": 1, "inner": [], "done": 1}, "it.done must be true or false, got 1"),
        ({"count": 1, "inner": [], "seed": 1.5}, "it.seed must be a whole number, got 1.5"),
        ({"count": 1, "inner": [], "seed": 2**63}, "it.seed must be a whole number from"),
        ({"count": 1, "inner": [{"name": 3}]}, "it.inner.name must be text, got 3"),
        ({"count": 1, "inner": [{"name": "a", "share": "b"}]}, "it.inner.share must be a number, got 'b'"),
        ({"count": 1, "inner": [{"name": "a", "share": 10**400}]}, "it.inner.share must be a number"),
    ],
)
def test_other_values_are_a_sentence(data: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        typed(Outer, data, "it")
