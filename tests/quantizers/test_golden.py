"""The quantizers give what the authors' published implementations gave (tests/golden/README.md)."""

import pytest
import torch
from torch import Tensor

from vitq_core.quantizers import LogSqrt2, PerPatchOutlier, Quantizer, ShiftLog2, Uniform

GOLDEN = "repq_and_quantizers.npz"
# golden name: (the tensor it was calibrated on and applied to, ours)
PUBLISHED = {
    "per_patch_outlier": ("post_layernorm", lambda bits: PerPatchOutlier(bits, alpha=5.0)),
    "shift_log_sqrt2": ("post_gelu", ShiftLog2),
    "log_sqrt2": ("post_softmax", LogSqrt2),
    "uniform_per_row": ("weight", lambda bits: Uniform(bits, axis=0)),
}


@pytest.mark.parametrize("bits", [3, 4, 6, 8])
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_values_and_parameters(name: str, bits: int, golden: dict[str, Tensor]) -> None:
    data_name, make = PUBLISHED[name]
    x = golden[f"q.{data_name}"]
    quantizer: Quantizer = make(bits).fit(x)
    torch.testing.assert_close(quantizer(x), golden[f"q.{name}.b{bits}"], atol=1e-5, rtol=0)
    torch.testing.assert_close(quantizer.scale, golden[f"q.{name}.b{bits}.scale"], atol=1e-6, rtol=1e-5)
    if f"q.{name}.b{bits}.zero_point" in golden:
        assert torch.equal(quantizer.zero_point, golden[f"q.{name}.b{bits}.zero_point"])
