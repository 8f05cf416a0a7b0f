"""The tiny models stand for what they are named after."""

from collections import Counter

import pytest

from tests.conftest import MIXTURES, VARIANTS


def test_every_variant_is_in_one_mixture() -> None:
    assert sorted(kind for row in MIXTURES for kind in row) == sorted(VARIANTS)


@pytest.mark.parametrize("row", MIXTURES, ids=", ".join)
def test_no_variant_of_a_mixture_hides_another(row: tuple[str, ...]) -> None:
    counts = Counter(argument for kind in row for argument in VARIANTS[kind])
    assert set(counts.values()) == {1}, counts
