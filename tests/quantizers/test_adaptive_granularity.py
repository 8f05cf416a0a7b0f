"""Adaptive granularity is PTQ4SAM's, exactly given (s, τ); its search finds their τ and no larger error."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.sam import golden
from vitq_core.quantizers import AdaptiveGranularity
from vitq_core.quantizers.adaptive_granularity import POWER, TAUS
from vitq_core.quantizers.judges import Multiplied

CASES = ("self_tokens", "token_to_image", "image_to_token", "window", "global")
BITS = (3, 4, 6, 8)


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    return golden("sam_quant")


Batches = list[tuple[Tensor, Tensor]]  # (maps, values)


def batches(stored: dict[str, np.ndarray], case: str) -> Batches:
    return [
        tuple(torch.from_numpy(stored[f"agq.{case}.{name}{index}"]) for name in ("x", "v"))
        for index in (0, 1)
    ]


def fitted(given: Batches, taus: str, bits: int) -> AdaptiveGranularity:
    maps, values = (torch.cat(part) for part in zip(*given, strict=True))
    judge = Multiplied(maps, values, torch.ones(maps.shape[:-1]), of_left=True)
    return AdaptiveGranularity(bits, taus=taus).fit(maps, judge)


def error(given: Batches, quantizer: AdaptiveGranularity) -> float:
    """Mean |Â V − A V|^2.4 of each batch, summed, as theirs."""
    return sum(float(((quantizer(a) - a) @ v).abs().pow(POWER).mean()) for a, v in given)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("case", CASES)
def test_with_their_scale_and_tau_it_gives_their_values(stored, case: str, bits: int) -> None:
    quantizer = AdaptiveGranularity(bits)
    quantizer.scale = torch.from_numpy(stored[f"agq.{case}.b{bits}.scale"])[0]
    quantizer.base = 2.0 ** (1 / int(stored[f"agq.{case}.b{bits}.tau"]))
    maps = torch.from_numpy(stored[f"agq.{case}.x0"])
    expected = torch.from_numpy(stored[f"agq.{case}.b{bits}.out"])
    torch.testing.assert_close(quantizer(maps), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(quantizer.decode(quantizer.encode(maps)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("case", CASES)
def test_the_search_finds_their_tau_and_no_larger_error(stored, case: str, bits: int) -> None:
    """Theirs are the errors of each batch with its own scale, and the mean of the scales is what is used."""
    given, errors = batches(stored, case), stored[f"agq.{case}.b{bits}.tau_errors"]
    together = fitted(given, "paper", bits)
    theirs = AdaptiveGranularity(bits)
    theirs.scale = torch.from_numpy(stored[f"agq.{case}.b{bits}.scale"])[0]
    theirs.base = 2.0 ** (1 / int(stored[f"agq.{case}.b{bits}.tau"]))
    assert error(given, together) <= 1.01 * error(given, theirs)
    assert sum(error([one], fitted([one], "paper", bits)) for one in given) <= 1.01 * errors.min()
    near = [tau for tau, found in zip(TAUS["paper"], errors, strict=True) if found < 1.1 * errors.min()]
    assert together.tau in near


@pytest.mark.parametrize("case", CASES)
def test_more_codes_to_an_octave_use_more_bits(stored, case: str) -> None:
    """Signal to noise of A·V: the paper's τ stop below 30 dB, ours go on."""
    given = batches(stored, case)
    wide, paper = (fitted(given, taus, 8) for taus in ("wide", "paper"))
    assert wide.tau > paper.tau == 4
    assert error(given, wide) < 0.1 * error(given, paper)


def test_without_a_layer_the_tensor_itself_is_ranked() -> None:
    maps = (3 * torch.randn(4, 2, 9, 9, generator=torch.Generator().manual_seed(0))).softmax(-1)
    quantizer = AdaptiveGranularity(4).fit(maps)
    tried = []
    for tau in TAUS["wide"]:
        other = AdaptiveGranularity(4)
        other.base = 2.0 ** (1 / tau)
        for factor in torch.linspace(0.3, 1, 36):
            other.scale = maps.max() * factor
            tried.append(float((other(maps) - maps).abs().pow(POWER).sum()))
    assert float((quantizer(maps) - maps).abs().pow(POWER).sum()) <= 1.01 * min(tried)


def test_other_granularities_are_refused() -> None:
    with pytest.raises(ValueError, match="taus"):
        AdaptiveGranularity(4, taus="fine")
