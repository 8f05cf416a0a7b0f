"""Fitted parameters in the smallest type that loses nothing."""

import pytest
import torch

from vitq_core.quantizers.storage import compact


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0.0, 255.0], torch.uint8),
        ([-1.0, 7.0], torch.int16),
        ([0.0, 300.0], torch.int16),
        ([0.0, 40000.0], torch.float32),
        ([0.5, 1.0], torch.float32),
        ([float("inf"), 1.0], torch.float32),
    ],
)
def test_whole_numbers_take_the_smallest_type_without_loss(values: list[float], dtype: torch.dtype) -> None:
    stored = compact(torch.tensor(values))
    assert stored.dtype == dtype
    assert stored.float().tolist() == values
