"""Embeddings are bounded in bytes, made once, and let go in the order of their last use."""

import threading

import pytest
import torch

from tests.nasty import VALUES, named, sentence
from vitq_core.prompting.cache import EmbeddingCache

KILOBYTE = torch.zeros(256)


def fill(cache: EmbeddingCache, *pictures: str, model: str = "a") -> None:
    for picture in pictures:
        cache.get_or_make(model, picture, KILOBYTE.clone)


def test_the_same_is_not_made_again() -> None:
    cache = EmbeddingCache()
    first = cache.get_or_make("a", "cat", KILOBYTE.clone)
    assert cache.get_or_make("a", "cat", KILOBYTE.clone) is first
    assert (cache.encodings, len(cache), cache.bytes) == (1, 1, 1024)


def test_another_model_or_picture_is_another_embedding() -> None:
    cache = EmbeddingCache()
    fill(cache, "cat", "dog")
    fill(cache, "cat", model=("a", 4))
    assert cache.encodings == len(cache) == 3


def test_it_stays_within_its_bytes_and_forgets_what_was_used_longest_ago() -> None:
    cache = EmbeddingCache(most=3 * 1024)
    fill(cache, "cat", "dog", "eel", "cat", "fox")  # the dog goes
    assert (cache.encodings, cache.bytes) == (4, 3 * 1024)
    fill(cache, "cat", "eel", "fox")
    assert cache.encodings == 4
    fill(cache, "dog")
    assert (cache.encodings, cache.bytes) == (5, 3 * 1024)


def test_what_is_too_large_alone_is_given_but_not_kept() -> None:
    cache = EmbeddingCache(most=1024)
    fill(cache, "cat")
    assert cache.get_or_make("a", "whale", lambda: torch.ones(257)).shape == (257,)
    assert (len(cache), cache.bytes) == (1, 1024)


def test_a_model_that_is_gone_is_forgotten() -> None:
    cache = EmbeddingCache()
    fill(cache, "cat", "dog")
    fill(cache, "cat", model="b")
    cache.forget("a")
    assert (len(cache), cache.bytes) == (1, 1024)


def test_a_failure_is_not_kept() -> None:
    cache = EmbeddingCache()
    with pytest.raises(ZeroDivisionError):
        cache.get_or_make("a", "cat", lambda: 1 // 0)
    fill(cache, "cat")
    assert (cache.encodings, cache._turns) == (1, {})


def test_many_who_ask_at_once_cost_one_encoding_a_picture() -> None:
    cache, start, seen = EmbeddingCache(), threading.Barrier(8), []

    def ask(picture: str) -> None:
        start.wait()
        seen.append((picture, cache.get_or_make("a", picture, KILOBYTE.clone)))

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("cat", "dog") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.encodings == 2
    assert len({id(embedding) for _, embedding in seen}) == 2
    assert cache._turns == {}


def test_the_same_is_never_made_twice_at_once_even_where_it_is_not_kept() -> None:
    cache, start, making, met = EmbeddingCache(most=1), threading.Barrier(6), threading.Lock(), []

    def make() -> torch.Tensor:
        met.append(not making.acquire(blocking=False))
        threading.Event().wait(0.01)
        making.release()
        return KILOBYTE.clone()

    def ask() -> None:
        start.wait()
        for _ in range(3):
            cache.get_or_make("a", "whale", make)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not any(met) and cache.encodings == 18
    assert cache._turns == {}


def test_another_picture_does_not_wait() -> None:
    cache = EmbeddingCache()

    def make() -> torch.Tensor:
        fill(cache, "dog")  # would never come back, were there one lock for all
        return KILOBYTE.clone()

    cache.get_or_make("a", "cat", make)
    assert cache.encodings == 2


@pytest.mark.parametrize("most", **named(VALUES))
def test_a_limit_that_is_none_is_refused(most: object) -> None:
    with pytest.raises(ValueError) as caught:
        EmbeddingCache(most)
    sentence(caught.value)
