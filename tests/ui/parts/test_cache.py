"""The bounded cache."""

import threading

import pytest

from ui.parts.cache import Cache


def test_forgets_what_was_used_longest_ago():
    cache = Cache(budget=2)
    cache.put("a", 1)
    cache.put("b", 2)
    cache.get("a")
    cache.put("c", 3)
    assert [cache.get(key) for key in "abc"] == [1, None, 3]


def test_weighs_values_and_keeps_the_newest_whatever_it_weighs():
    cache = Cache(budget=10, weigh=lambda value: value)
    cache.put("small", 4)
    cache.put("large", 40)
    assert len(cache) == 1
    assert cache.get("large") == 40


def test_a_failure_is_passed_on_and_not_kept():
    cache = Cache(budget=2)
    with pytest.raises(ZeroDivisionError):
        cache.get_or_make("a", lambda: 1 // 0)
    assert cache.get_or_make("a", lambda: 5) == 5


def test_two_people_asking_together_cost_one_computation():
    cache, made, start = Cache(budget=2), [], threading.Barrier(2)

    def make() -> str:
        made.append(1)
        return "value"

    def ask() -> None:
        start.wait()
        cache.get_or_make("key", make)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
