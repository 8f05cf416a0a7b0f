"""Quantizing with the bits of the table: what the page says of a method there."""

import pytest

import vitq_core as vq
from ui.relevance.quantize import _sentence


@pytest.mark.parametrize("name", list(vq.RECIPES))
def test_with_a_table_of_bits_nothing_is_said_of_the_methods_own(name):
    said = _sentence(name, "none")
    assert f"the rounding of {vq.RECIPES[name].title} with exactly the bits above" in said
    assert vq.RECIPES[name].summary not in said
    assert ("only a part of this method" in said) == (vq.RECIPES[name].options.effort != "none")
