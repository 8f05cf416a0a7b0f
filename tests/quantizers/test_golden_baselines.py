"""Quantizers of published baselines give the authors' numbers, and those of an independent derivation."""

import numpy as np
import pytest
import torch
from torch import Tensor

from vitq_core.quantizers import Symmetric, TwinGelu, TwinSoftmax, Uniform

from ..swin import golden

every_width = pytest.mark.parametrize("bits", [3, 4, 6, 8])
ONE = torch.ones(())


@pytest.fixture(scope="module")
def stored() -> dict[str, Tensor]:
    return {
        name: torch.from_numpy(np.asarray(value)) for name, value in golden("baseline_quantizers").items()
    }


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@every_width
def test_symmetric(stored: dict[str, Tensor], bits: int) -> None:
    quantizer, value, name = Symmetric(bits), stored["value"], f"ptq4vit.symmetric.b{bits}"
    begin = quantizer.candidates(-value.abs().max()[None], value.max()[None], torch.ones(1))["scale"]
    assert_same(begin[0, 0], stored[f"{name}.scale"])
    assert_same(quantizer.rounded(value, begin[0, 0]), stored[name])


@every_width
@pytest.mark.parametrize("factor", ["1.0", "0.5"])
def test_twin_gelu(stored: dict[str, Tensor], bits: int, factor: str) -> None:
    quantizer, x, name = TwinGelu(bits), stored["post_gelu"], f"ptq4vit.twin_gelu.b{bits}.f{factor}"
    ends = x.min()[None], x.max()[None]
    scale = quantizer.candidates(*ends, torch.tensor([float(factor)]))["scale"][0, 0]
    assert_same(scale, stored[f"{name}.pos_scale"])
    assert_same(torch.tensor(quantizer.negative_scale), stored[f"ptq4vit.twin_gelu.b{bits}.neg_scale"])
    assert_same(quantizer.rounded(x, scale), stored[name])


@every_width
def test_twin_gelu_with_scales_a_power_of_two_apart(stored: dict[str, Tensor], bits: int) -> None:
    quantizer, power = TwinGelu(bits, "power_of_two"), stored[f"own.twin_gelu_pow2.b{bits}.m"]
    x = stored["post_gelu"]
    scale = quantizer.negative_scale * 2.0**power
    ends = x.min()[None], x.max()[None]
    tried = quantizer.candidates(*ends, torch.linspace(0.1, 1.2, 40))["scale"]
    assert torch.isclose(tried, scale).any()
    assert_same(quantizer.rounded(x, scale), stored[f"own.twin_gelu_pow2.b{bits}"])


@every_width
@pytest.mark.parametrize("split", [2, 5, 9])
def test_twin_softmax(stored: dict[str, Tensor], bits: int, split: int) -> None:
    x, p = stored["post_softmax"], torch.tensor(2.0**-split)
    for twin, owner in {"paper": "own", "published": "ptq4vit"}.items():
        quantizer, expected = (
            TwinSoftmax(bits, twin=twin),
            stored[f"{owner}.twin_softmax.b{bits}.split{split}"],
        )
        assert_same(quantizer.rounded(x, ONE, p), expected)
        quantizer.scale, quantizer.split = ONE, p
        assert_same(quantizer.decode(quantizer.encode(x)), expected)
        assert int(quantizer.encode(x).max()) < 2**bits
    paper = TwinSoftmax(bits, grid="paper").rounded(x, ONE, p)
    assert_same(paper, stored[f"own.twin_softmax_paper.b{bits}.m{split}"])


@every_width
@pytest.mark.parametrize("factor", ["1.0", "0.95"])
def test_apq_softmax(stored: dict[str, Tensor], bits: int, factor: str) -> None:
    """Per head; codes are counted from 0 here and from −h there."""
    x, name, half = stored["post_softmax"], f"own.apq_softmax.b{bits}.f{factor}", 2 ** (bits - 1)
    heads = x.movedim(1, 0).flatten(1)
    quantizer = Uniform(bits, axis=1, range="minmax")
    tried = quantizer.candidates(heads.amin(1), heads.amax(1), torch.tensor([float(factor)]))
    assert_same(tried["scale"][0], stored[f"{name}.scale"])
    assert torch.equal(tried["zero_point"][0] - half, stored[f"{name}.zero_point"])
    quantizer.settle({key: values[0] for key, values in tried.items()}, x)
    assert_same(quantizer(x), stored[name])
