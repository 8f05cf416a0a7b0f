"""The operations that rewritten models are made of."""

import pytest
import torch

from vitq_core.graph.ops import Softmax


def scores(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return (3 * torch.randn(2, 3, 5, 37, generator=torch.Generator().manual_seed(0))).to(dtype)


def test_without_gradients_softmax_writes_over_its_input_and_gives_the_same() -> None:
    given = scores()
    with torch.no_grad():
        found = Softmax()(given)
    assert found.data_ptr() == given.data_ptr()
    assert torch.equal(found, scores().softmax(-1))


@pytest.mark.parametrize(("gradients", "dtype"), [(True, torch.float32), (False, torch.bfloat16)])
def test_elsewhere_softmax_leaves_its_input(gradients: bool, dtype: torch.dtype) -> None:
    given = scores(dtype)
    with torch.set_grad_enabled(gradients):
        found = Softmax()(given)
    assert torch.equal(given, scores(dtype)) and torch.equal(found, scores(dtype).softmax(-1))
