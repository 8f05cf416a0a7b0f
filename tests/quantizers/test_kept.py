"""A tensor that stays in floating point."""

import pytest
import torch

from vitq_core.common.errors import VitqError
from vitq_core.quantizers import KEPT, QUANTIZERS, Kept, Uniform, kind_of


def test_it_takes_part_as_it_is_and_counts_as_a_float() -> None:
    kept, x = kind_of(KEPT)(4), torch.randn(3, 5)
    assert kept.fitted and kept.fit(x) is kept
    assert kept(x) is x and torch.equal(kept.simulate(x, torch.empty_like(x)), x)
    assert (kept.bits, kept.effective_bits, kept.stored_bytes()) == (4, 32.0, 0)
    assert len(kept.levels()) == 0 and kept.settings().keys() == {"bits", "sqnr_db"}


def test_it_has_no_codes() -> None:
    for ask in (Kept(4).encode, Kept(4).decode):
        with pytest.raises(VitqError, match="stays in floating point has no codes"):
            ask(torch.zeros(1))


def test_a_rule_names_it_beside_the_registry() -> None:
    assert KEPT not in QUANTIZERS
    assert kind_of("uniform") is Uniform
    with pytest.raises(ValueError, match="unknown quantizer 'keep'"):
        kind_of("keep")
