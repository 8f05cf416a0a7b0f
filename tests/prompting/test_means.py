"""Means over objects, and errors that count pictures."""

import numpy as np
import pytest

from vitq_core.prompting.means import Mean, Score


def score(*pictures: list[float]) -> Score:
    mean = Mean()
    for values in pictures:
        mean.add(values)
    return mean.score()


def test_with_one_object_a_picture_it_is_the_ordinary_standard_error() -> None:
    values = np.random.default_rng(0).random(30)
    found = score(*([value] for value in values))
    assert np.isclose(found.mean, values.mean())
    assert np.isclose(found.error, values.std(ddof=1) / 30**0.5)


def test_objects_that_are_alike_count_as_one() -> None:
    values = np.random.default_rng(1).random(20)
    assert np.isclose(score(*([value] * 7 for value in values)).error, score(*([v] for v in values)).error)


def test_the_error_is_that_of_repeated_samples() -> None:
    rng = np.random.default_rng(2)

    def sample() -> list[list[float]]:
        pictures = []
        for _ in range(60):
            level, count = rng.random(), rng.integers(1, 6)
            pictures.append((level + 0.1 * rng.random(count)).tolist())
        return pictures

    scores = [score(*sample()) for _ in range(400)]
    assert np.isclose(np.std([s.mean for s in scores]), np.mean([s.error for s in scores]), rtol=0.1)


def test_nothing_is_known_of_the_error_of_one_picture() -> None:
    assert score([0.25, 0.75], []) == Score(0.5, None)
    assert score([0.5], [0.5]).error == 0
    with pytest.raises(ZeroDivisionError):
        score([])
