"""The operations that rewritten models are made of."""

import pytest
import torch

from vitq_core.graph.ops import Softmax, add_bias


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


def test_a_bias_is_written_over_the_scores_where_nothing_can_look_back() -> None:
    scores, bias = torch.randn(2, 3, 4), torch.randn(3, 1)
    expected = scores + bias
    leaf = scores.clone().requires_grad_()
    added = add_bias(leaf, bias)
    assert torch.equal(added, expected) and torch.equal(leaf, scores)
    added.sum().backward()
    assert torch.equal(leaf.grad, torch.ones_like(scores))
    with torch.no_grad():
        assert add_bias(scores.half(), bias).dtype == torch.float32
        assert add_bias(scores, bias) is scores and torch.equal(scores, expected)
