"""The bounded cache."""

import threading

import pytest

from ui.parts.cache import Cache


def test_forgets_what_was_used_longest_ago():
    cache = Cache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    cache.get("a")
    cache.put("c", 3)
    assert [cache.get(key) for key in "abc"] == [1, None, 3]


def test_weighs_what_it_keeps():
    cache = Cache(weigh=lambda value: value)
    cache.put("small", 4)
    cache.put("large", 40)
    assert cache.megabytes() == 44
    cache.let_oldest_go()
    assert (cache.get("small"), cache.megabytes()) == (None, 40)


def test_the_oldest_of_two_caches_can_be_told():
    first, second = Cache(), Cache()
    first.put("a", 1)
    second.put("b", 2)
    assert first.oldest() < second.oldest()
    first.get("a")
    assert first.oldest() > second.oldest()
    first.let_oldest_go()
    assert first.oldest() is None
    first.let_oldest_go()


class Value:
    pass


def test_what_somebody_still_holds_is_not_made_a_second_time():
    cache, held = Cache(), Value()
    cache.put("a", held)
    cache.let_oldest_go()
    assert len(cache) == 0
    assert cache.get_or_make("a", Value) is held
    assert len(cache) == 1
    cache.let_oldest_go()
    del held
    assert cache.get("a") is None


def test_a_failure_is_passed_on_and_not_kept():
    cache = Cache(2)
    with pytest.raises(ZeroDivisionError):
        cache.get_or_make("a", lambda: 1 // 0)
    assert cache.get_or_make("a", lambda: 5) == 5


def test_two_people_asking_together_cost_one_computation():
    cache, made, start = Cache(2), [], threading.Barrier(2)

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
