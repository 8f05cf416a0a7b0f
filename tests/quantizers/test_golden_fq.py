"""FQ-ViT's observers, weights and logarithm give what the authors' code gave (tests/golden/README.md)."""

import pytest
import torch
from torch import Tensor

from vitq_core.quantizers import Affine, LogSqrt2, PowerOfTwo, Quantizer, Uniform

GOLDEN = "baseline_quantizers.npz"
OBSERVERS = {
    "minmax": lambda bits: Affine(bits, range="minmax"),
    "ema": lambda bits: Affine(bits, range="ema"),
    "percentile": lambda bits: Affine(bits, range="running_percentile"),
    "omse": lambda bits: Affine(bits, range="last_batch"),
    "ptf": PowerOfTwo,
}
every_width = pytest.mark.parametrize("bits", [3, 4, 6, 8])


@every_width
@pytest.mark.parametrize("name", OBSERVERS)
def test_observers(name: str, bits: int, golden: dict[str, Tensor]) -> None:
    x, prefix = golden["ln_input"], f"fq.{name}.b{bits}"
    quantizer: Quantizer = OBSERVERS[name](bits)
    for batch in x.chunk(2):
        quantizer.observe(batch, share=0.5)
    quantizer.finish()
    torch.testing.assert_close(
        quantizer.scale.flatten(), golden[f"{prefix}.scale"].flatten(), rtol=1e-5, atol=0
    )
    assert (quantizer.zero_point == golden[f"{prefix}.zero_point"]).all()
    torch.testing.assert_close(quantizer(x), golden[prefix], rtol=1e-5, atol=1e-5)


@every_width
def test_weights(bits: int, golden: dict[str, Tensor]) -> None:
    weight = golden["weight"]
    quantizer = Uniform(bits, axis=0, range="signed").fit(weight)
    assert torch.equal(quantizer.scale.flatten(), golden[f"fq.weight.b{bits}.scale"])
    assert torch.equal(quantizer(weight), golden[f"fq.weight.b{bits}"])


@every_width
def test_the_logarithm(bits: int, golden: dict[str, Tensor]) -> None:
    x = golden["post_softmax"]
    quantizer = LogSqrt2(bits, base=2.0, range="unit").fit(x)
    torch.testing.assert_close(quantizer(x), golden[f"fq.log2.b{bits}"], rtol=1e-6, atol=0)
