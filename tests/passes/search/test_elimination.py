"""Bottom elimination: the golden metric, and a naive twin with torch's own quantile."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.swin import golden
from vitq_core.passes.search.elimination import SHARE, eliminated, metric


@pytest.fixture(scope="module")
def stored() -> dict[str, Tensor]:
    return {
        name: torch.from_numpy(np.asarray(value)) for name, value in golden("baseline_quantizers").items()
    }


@pytest.mark.parametrize("bits", [3, 4, 6, 8])
def test_the_golden_metric(stored: dict[str, Tensor], bits: int) -> None:
    """Negative means of one candidate: quantized attention times values in full precision."""
    reference, gradient = stored["own.apq_metric.reference"], stored["own.apq_metric.grad"]
    error = stored[f"own.apq_softmax.b{bits}.f1.0"] @ stored["value"] - reference
    plain = -(error * gradient).square().mean()
    torch.testing.assert_close(plain, stored[f"own.hessian_metric.b{bits}"], rtol=1e-4, atol=0)
    found = -metric(error[None], gradient)[0] / error.numel()
    torch.testing.assert_close(found, stored[f"own.apq_metric.b{bits}"], rtol=1e-5, atol=0)
    assert found > plain, "less error is left"


@given(st.integers(1, 4), st.integers(1, 60), st.integers(0, 99))
def test_each_candidate_loses_what_is_below_its_percentile(candidates: int, size: int, seed: int) -> None:
    errors = torch.randn(candidates, size, 2, generator=torch.Generator().manual_seed(seed))
    limits = torch.quantile(errors.abs().flatten(1), SHARE, dim=1)[:, None, None]
    expected = torch.where(errors.abs() < limits, 0.0, errors)
    assert torch.equal(eliminated(errors.clone()), expected)
