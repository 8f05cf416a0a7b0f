"""Fitted parameters in the smallest type that loses nothing, and what may be restored."""

import pytest
import torch

from vitq_core.quantizers import QUANTIZERS
from vitq_core.quantizers.storage import compact, fits


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


@pytest.mark.parametrize(
    ("own", "shape", "expected"),
    [
        ((), (1, 4, 8), True),
        ((1, 1, 8), (1, 4, 8), True),
        ((8,), (1, 4, 8), True),
        ((2, 1, 8), (1, 4, 8), False),
        ((1, 1, 1, 1), (1, 4, 8), False),
        ((4,), (1, 4, 8), False),
        ((0,), (1, 4, 8), False),
    ],
)
def test_parameters_fit_that_leave_a_tensor_its_shape(own: tuple, shape: tuple, expected: bool) -> None:
    assert fits(torch.ones(own), shape) is expected


@pytest.mark.parametrize("name", list(QUANTIZERS))
def test_what_no_fitting_makes_is_not_restored(name: str) -> None:
    x = torch.rand(2, 4, 8, generator=torch.Generator().manual_seed(0))
    shape, quantizer = (1, 4, 8), QUANTIZERS[name](4).fit(x)
    tensors = {key: getattr(quantizer, key) for key in quantizer.PARAMETERS}
    QUANTIZERS[name](4).restore(tensors, quantizer.settings(), shape)

    def refused(sentence: str, changed: dict, settings: dict) -> None:
        with pytest.raises(ValueError, match=sentence):
            QUANTIZERS[name](4).restore({**tensors, **changed}, {**quantizer.settings(), **settings}, shape)

    for key, values in tensors.items():
        refused(f"{key} holds NaN or infinite", {key: torch.full_like(values, torch.nan)}, {})
        refused(f"{key} has shape", {key: torch.ones(2, 3)}, {})
        refused(f"{key} has shape", {key: values.reshape(1, 1, *[1] * (3 - values.ndim), *values.shape)}, {})
    for key in quantizer.POSITIVE:
        refused(f"{key} holds values that are not above 0", {key: -tensors[key]}, {})
    for key in quantizer.SETTINGS:
        refused(key, {}, {key: "x"})
        refused(key, {}, {key: [1]})


@pytest.mark.parametrize("name", ["uniform", "per_patch_outlier", "shift_log2", "hybrid_log"])
def test_codes_that_would_stand_for_no_finite_number_are_not_restored(name: str) -> None:
    quantizer = QUANTIZERS[name](4).fit(torch.rand(2, 4, 8, generator=torch.Generator().manual_seed(0)))
    most = {"scale", "step", "minimum"}
    tensors = {
        key: torch.full_like(values, 3.4e38) if key in most else values
        for key, values in ((key, getattr(quantizer, key)) for key in quantizer.PARAMETERS)
    }
    with pytest.raises(ValueError, match="its codes stand for values that are not finite"):
        QUANTIZERS[name](4).restore(tensors, quantizer.settings(), (1, 4, 8))
