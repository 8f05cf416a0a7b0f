"""Correlation and order: golden numbers and naive twins."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.swin import golden
from vitq_core.passes.nuclear_bits import sensitivity
from vitq_core.passes.search.similarity import THETA, even_rows, pairs, pearson, ranking_loss
from vitq_core.quantizers import Symmetric

every_width = pytest.mark.parametrize("bits", [3, 4, 6, 8])


@pytest.fixture(scope="module")
def stored() -> dict[str, Tensor]:
    return {
        name: torch.from_numpy(np.asarray(value)) for name, value in golden("baseline_quantizers").items()
    }


@every_width
def test_the_golden_correlation(stored: dict[str, Tensor], bits: int) -> None:
    reference = stored["own.apq_metric.reference"]
    found = stored[f"own.apq_softmax.b{bits}.f1.0"] @ stored["value"]
    torch.testing.assert_close(
        pearson(reference, found[None])[0], stored[f"own.pearson.b{bits}"], atol=2e-6, rtol=0
    )


@every_width
def test_the_golden_ranking_loss(stored: dict[str, Tensor], bits: int) -> None:
    """Scores on the grid that reaches their largest magnitude."""
    scores = stored["scores"]
    top = scores.abs().max()[None]
    quantizer = Symmetric(bits)
    scale = quantizer.candidates(-top, top, torch.ones(1))["scale"][0]
    found = ranking_loss(scores, quantizer.rounded(scores, scale))
    torch.testing.assert_close(found, stored[f"own.ranking_loss.b{bits}"], rtol=1e-5, atol=0)


@every_width
def test_the_golden_sensitivity(stored: dict[str, Tensor], bits: int) -> None:
    found = sensitivity(stored["post_softmax"], stored[f"own.apq_softmax.b{bits}.f1.0"])
    torch.testing.assert_close(found.float(), stored[f"own.nuclear_sensitivity.b{bits}"], rtol=1e-4, atol=0)


def test_correlation_is_torchs_own_and_0_where_nothing_varies() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(3, 4, 5, generator=generator), torch.randn(2, 3, 4, 5, generator=generator)
    found = pearson(a, b)
    for candidate in range(2):
        for picture in range(3):
            both = torch.stack((a[picture].flatten(), b[candidate, picture].flatten()))
            torch.testing.assert_close(found[candidate, picture], torch.corrcoef(both)[0, 1])
    assert pearson(a, torch.ones(1, 3, 4, 5)).tolist() == [[0, 0, 0]]


def test_ranking_loss_written_out() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 3, 6, generator=generator), torch.randn(4, 2, 3, 6, generator=generator)
    a[0, 0, 1] = a[0, 0, 4]  # a tie has no order: θ
    expected = torch.zeros(4, 2)
    for row in range(3):
        for i in range(6):
            for j in range(i + 1, 6):
                order = (a[:, row, i] - a[:, row, j]).sign()
                expected += (THETA - (b[..., row, i] - b[..., row, j]) * order).clamp_min(0)
    torch.testing.assert_close(ranking_loss(a, b), expected)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (10, 5), (5000, 65), (12 * 197 * 32, 197)])
def test_few_rows_are_looked_at_where_pairs_are_many(rows: int, columns: int) -> None:
    looked = len(range(rows)[even_rows(rows, columns)])
    assert looked >= 1 and (looked - 1) * pairs(columns) <= 2**20
    assert looked == rows or looked * pairs(columns) > 2**18
