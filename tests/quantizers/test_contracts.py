"""What every registered quantizer promises; a new entry is tested by being registered."""

import json
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor
from torch.nn import functional

from tests.pairs import all_pairs, in_turn
from vitq_core.common.errors import VitqError
from vitq_core.quantizers import QUANTIZERS, HybridLog, LogSqrt2, Quantizer, ShiftLog2, TwinGelu
from vitq_core.quantizers.kernels import pieces
from vitq_core.quantizers.shift_log2 import EPSILON
from vitq_core.recipes.recipe import MAX_BITS, MIN_BITS

BITS = (MIN_BITS, 4, 3, MAX_BITS)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def post_layernorm(seed: int = 0) -> Tensor:
    """[8, 9, 16] with a channel of outliers and one that is shifted."""
    x = noise(8, 9, 16, seed=seed)
    x[..., 3] *= 12.0
    x[..., 5] += 4.0
    return x


def post_softmax(seed: int = 0) -> Tensor:
    return (3 * noise(8, 2, 9, 9, seed=seed)).softmax(-1)


def post_gelu(seed: int = 0) -> Tensor:
    return functional.gelu(2 * noise(8, 9, 16, seed=seed))


def weight(seed: int = 0) -> Tensor:
    return noise(12, 40, seed=seed) * torch.logspace(-2, 0, 12)[:, None]


@dataclass(frozen=True)
class Case:
    """A quantizer with options, data of its role, the axis along which that data comes in batches."""

    quantizer: str
    make_data: Any = post_softmax  # what every quantizer has to stand
    options: dict[str, Any] = field(default_factory=dict)
    batch_axis: int = 0
    plateau: bool = False  # a fixed base: more bits only add smaller values
    one_batch: bool = False  # resolves an option on the first batch
    exact: bool = True  # else powers of its base differ in the last bit with their place in memory
    learned: bool = True  # whether its scale may be
    affine: bool = False  # whether a scale and a zero point are all it does

    def __str__(self) -> str:
        return "-".join([self.quantizer, *(f"{name}={value}" for name, value in self.options.items())])

    def same(self, found: Tensor, expected: Tensor) -> bool:
        if self.exact:
            return torch.equal(found, expected)
        return torch.allclose(found, expected, rtol=3e-7, atol=3e-7)

    def make(self, bits: int) -> Quantizer:
        return QUANTIZERS[self.quantizer](bits, **self.options)

    def fitted(self, bits: int = 4) -> tuple[Quantizer, Tensor]:
        data = self.make_data()
        return self.make(bits).fit(data), data


KNOWN = [
    Case("uniform", post_layernorm, affine=True),
    Case("uniform", post_layernorm, {"axis": -1}, affine=True),
    Case("uniform", weight, {"axis": 0}, batch_axis=1, affine=True),
    Case("uniform", post_gelu, {"range": "minmax"}, affine=True),
    Case("uniform", post_gelu, {"range": "least_error"}, affine=True),
    Case("uniform", weight, {"axis": 0, "range": "least_error"}, batch_axis=1, affine=True),
    Case("uniform", post_layernorm, {"axis": -1, "range": "tails"}, affine=True),
    Case("uniform", weight, {"axis": 0, "range": "signed"}, batch_axis=1, affine=True),
    Case("affine", post_layernorm),
    Case("affine", post_gelu),
    Case("power_of_two", post_layernorm, learned=False),
    Case("log_sqrt2", post_softmax, {"base": 2.0, "range": "unit"}, plateau=True, learned=False),
    Case("log_sqrt2", post_softmax, plateau=True),
    Case("log_sqrt2", post_softmax, {"base": 2.0}, plateau=True),
    Case("log_sqrt2", post_softmax, {"base": "fitted"}, exact=False),
    Case("log_sqrt2", post_softmax, {"base": "fitted", "range": "least_error"}, exact=False),
    Case("log_sqrt2", post_softmax, {"base": "fitted", "range": "joint"}, exact=False),
    Case("adaptive_granularity", post_softmax, exact=False),
    Case("adaptive_granularity", post_softmax, {"taus": "paper"}, exact=False, plateau=True),
    Case("shift_log2", post_gelu, {"base": "fitted"}, exact=False),
    Case("shift_log2", post_gelu, {"base": "fitted", "range": "least_error"}, exact=False),
    Case("shift_log2", post_gelu, {"base": "fitted", "range": "joint"}, exact=False),
    Case("hybrid_log", post_gelu, exact=False),
    Case("shift_log2", post_gelu, plateau=True),
    Case("shift_log2", post_gelu, {"base": 2.0}, plateau=True),
    Case("symmetric", post_layernorm, affine=True),
    Case("symmetric", weight, {"axis": 0}, batch_axis=1, affine=True),
    Case("symmetric", weight, {"groups": 3}, batch_axis=1, affine=True),
    Case("row_groups", weight, {"groups": 3}, batch_axis=1, affine=True),
    Case("twin_gelu", post_gelu),
    Case("per_patch_outlier", post_layernorm),
    Case("per_patch_outlier", post_layernorm, {"alpha_ratio": 0.01}, one_batch=True),
]
NEW = [Case(name) for name in QUANTIZERS if name not in {case.quantizer for case in KNOWN}]
LEARNING = [case for case in KNOWN + NEW if case.make(4).learned_parameters()]
every_case = pytest.mark.parametrize("case", KNOWN + NEW, ids=str)
every_case_at_two_widths = pytest.mark.parametrize(
    ("case", "bits"), in_turn(KNOWN + NEW, BITS, times=2), ids=str
)
every_learning_case = pytest.mark.parametrize("case", LEARNING, ids=str)
every_quantizer = pytest.mark.parametrize("name", list(QUANTIZERS))


def outliers(quantizer: Quantizer, x: Tensor) -> Tensor:
    """Where values are kept in floating point."""
    return x.abs() > getattr(quantizer, "alpha", float("inf"))


def zero_codes(quantizer: Quantizer) -> int:
    """Log quantizers have exactly 0 besides the 2^b powers."""
    return int(isinstance(quantizer, (HybridLog, LogSqrt2)))


def first_parameter(quantizer: Quantizer) -> Tensor:
    """The scale, whatever a new entry calls it."""
    return getattr(quantizer, quantizer.PARAMETERS[0])


def error(quantizer: Quantizer, x: Tensor) -> float:
    return float((quantizer(x).double() - x.double()).square().mean())


# -- codes ---------------------------------------------------------------------------------------------
@every_case
@pytest.mark.parametrize("bits", BITS)
def test_decoding_the_code_gives_what_forward_gives_bit_for_bit(case: Case, bits: int) -> None:
    quantizer, data = case.fitted(bits)
    for x in (data, case.make_data(seed=1), 3 * case.make_data(seed=2)):  # seen, unseen and out of range
        codes = quantizer.encode(x)
        assert codes.dtype == torch.int32
        assert codes.shape == x.shape
        assert torch.equal(quantizer.decode(codes), quantizer(x))


@every_case_at_two_widths
def test_codes_number_what_the_bits_allow(case: Case, bits: int) -> None:
    quantizer, data = case.fitted(bits)
    codes = quantizer.encode(data)[~outliers(quantizer, data)]  # which have no b-bit code
    assert 0 <= codes.min() <= codes.max() < 2**bits + zero_codes(quantizer)


@every_case
@pytest.mark.parametrize("bits", BITS)
def test_levels_are_sorted_and_stand_for_themselves(case: Case, bits: int) -> None:
    quantizer, _ = case.fitted(bits)
    levels = quantizer.levels()
    assert len(levels) <= 2**bits + zero_codes(quantizer)
    assert (levels.diff() >= 0).all()
    simulated = quantizer(in_first_group(levels, first_parameter(quantizer)))
    torch.testing.assert_close(
        first_group(simulated, first_parameter(quantizer)), levels, atol=1e-6, rtol=1e-5
    )


@every_case
def test_what_forward_gives_are_levels(case: Case) -> None:
    quantizer, data = case.fitted()
    inliers = data.masked_fill(outliers(quantizer, data), 0.0)
    values = first_group(quantizer(inliers), first_parameter(quantizer))
    levels = quantizer.levels()
    distance = (values[:, None] - levels).abs().amin(dim=1)
    assert distance.max() <= (0 if case.exact else 3e-7 * float(levels.abs().max().clamp_min(1)))


def in_first_group(values: Tensor, scale: Tensor) -> Tensor:
    """``values`` along an axis that shares parameters, repeated for every group of ``scale``."""
    if scale.numel() == 1 and scale.ndim == 0:
        return values
    axis = next(axis for axis in range(scale.ndim) if scale.shape[axis] == 1)
    shape = [1] * scale.ndim
    shape[axis] = -1
    target = list(scale.shape)
    target[axis] = len(values)
    return values.reshape(shape).expand(target).contiguous()


def first_group(x: Tensor, scale: Tensor) -> Tensor:
    return x[torch.arange(scale.numel()).reshape(scale.shape).expand_as(x) == 0]


# -- values --------------------------------------------------------------------------------------------
@every_case_at_two_widths
def test_twice_equals_once(case: Case, bits: int) -> None:
    quantizer, data = case.fitted(bits)
    once = quantizer(data)
    assert not torch.equal(once, data)
    torch.testing.assert_close(quantizer(once), once, atol=1e-6, rtol=1e-5)


@every_case
def test_more_bits_are_never_worse(case: Case) -> None:
    """Fixed-base log quantizers stop gaining near 20 dB (test_log_sqrt2), but must not get worse."""
    errors = [error(*case.fitted(bits)) for bits in range(MIN_BITS, MAX_BITS + 1)]
    allowed = 1.02 if case.plateau else 1.0
    assert all(more <= allowed * fewer for fewer, more in pairwise(errors))
    assert errors[-1] < errors[0]


@every_case
def test_signal_to_noise_is_that_of_the_calibration_data(case: Case) -> None:
    quantizer, data = case.fitted()
    data = data.masked_fill(outliers(quantizer, data), 0.0)  # they have no error and no say
    measured = 10 * torch.log10(data.double().square().mean() / error(quantizer, data))
    assert quantizer.sqnr_db == pytest.approx(float(measured), abs=0.01)


@every_case
def test_gradient_passes_straight_through(case: Case) -> None:
    quantizer, data = case.fitted()
    x = torch.cat((data, torch.zeros_like(data), 100 * data), dim=case.batch_axis).requires_grad_()
    direction = noise(*x.shape, seed=3)
    y = quantizer(x, overwrite=True)  # must not write into what a gradient needs
    assert y.data_ptr() != x.data_ptr()
    (y * direction).sum().backward()
    assert torch.equal(x.grad, direction)
    with torch.no_grad():
        assert torch.equal(y, quantizer(x))


@every_case
def test_parameters_take_no_gradient_from_fitting_a_trainable_tensor(case: Case) -> None:
    quantizer = case.make(4)
    with torch.no_grad():
        quantizer.fit(case.make_data().requires_grad_())
    assert not any(getattr(quantizer, name).requires_grad for name in quantizer.PARAMETERS)


# -- scale and zero point alone ------------------------------------------------------------------------
@every_case
@pytest.mark.parametrize("bits", BITS)
def test_an_affine_quantizer_is_its_scale_and_zero_point(case: Case, bits: int) -> None:
    """Written out as ONNX's QuantizeLinear and DequantizeLinear compute."""
    quantizer, data = case.fitted(bits)
    found = quantizer.affine()
    if case in KNOWN:
        assert (found is not None) == case.affine
    if found is None:
        return
    scale, zero_point = found
    assert torch.equal(zero_point, zero_point.round())
    for x in (data, case.make_data(seed=1), 3 * case.make_data(seed=2), 100 - data):
        codes = (torch.round(x / scale) + zero_point).clamp(0, 2**bits - 1)
        assert torch.equal(quantizer.encode(x).float(), codes)
        assert torch.equal(quantizer.simulate(x), (codes - zero_point) * scale)


# -- learned scales ------------------------------------------------------------------------------------
def learning(quantizer: Quantizer) -> Quantizer:
    """A copy whose learned parameters take gradients."""
    copy = deepcopy(quantizer)
    for name in copy.learned_parameters():
        setattr(copy, name, getattr(copy, name).detach().clone().requires_grad_())
    return copy


@every_case
def test_what_is_learned_takes_gradients_and_nothing_else_does(case: Case) -> None:
    quantizer, data = case.fitted()
    names = quantizer.learned_parameters()
    assert set(names) <= set(quantizer.PARAMETERS)
    assert names == (("scale",) if case.learned else ()) or case not in KNOWN
    assert not quantizer.learning and not case.make(4).learning
    learned = learning(quantizer)
    assert learned.learning == bool(names)
    x = data.clone().requires_grad_()
    (learned(x) * noise(*x.shape, seed=3)).sum().backward()
    assert x.grad.isfinite().all()
    for name in quantizer.PARAMETERS:
        parameter = getattr(learned, name)
        assert (parameter.grad is not None) == (name in names)
        if name in names:
            assert (getattr(quantizer, name) > 0).all()  # as the optimizer keeps it
            assert parameter.grad.shape == parameter.shape and parameter.grad.isfinite().all()


def log_twin(quantizer: LogSqrt2, x: Tensor, scale: Tensor, simulated: Tensor) -> Tensor:
    """Codes held fixed for the scale; straight through to x, but not above the largest power."""
    offset = quantizer.minimum.double() - EPSILON if isinstance(quantizer, ShiftLog2) else 0.0
    power = ((simulated - offset) / scale).detach()
    return scale * power + offset + (x - x.detach()) * (x < scale + offset)


def hybrid_twin(quantizer: HybridLog, x: Tensor, scale: Tensor, simulated: Tensor) -> Tensor:
    """Powers as of a log quantizer, even steps straight through, the last one fixed to where they begin."""
    minimum, step = quantizer.minimum.double(), quantizer.step.double()
    last = (quantizer.scale + (2**quantizer.bits - 1 - quantizer.powers) * quantizer.step).double()
    above, straight = x - minimum, x - x.detach()
    powers = scale * ((simulated - minimum) / scale).detach() + minimum + straight * (above >= 0)
    steps = torch.where(above > last + step / 2, simulated + scale - scale.detach(), simulated + straight)
    return torch.where(above <= quantizer.scale, powers, steps)


def gelu_twin(quantizer: TwinGelu, x: Tensor, scale: Tensor, simulated: Tensor) -> Tensor:
    """LSQ above 0; below it straight through where nothing is clipped, and the scale has no part in it."""
    negative = quantizer.negative_scale
    above, below = x / scale, x / negative
    codes = (x.float() / scale.float()).round().detach().double()
    straight = above + (codes - above).detach()
    high = torch.where(codes < quantizer.half, straight, codes.clamp(max=quantizer.half - 1))
    kept = simulated + (x - x.detach()) * (below > -quantizer.half - 0.5)
    return torch.where(x > 0, high * scale, kept)


def uniform_twin(quantizer: Quantizer, x: Tensor, scale: Tensor, simulated: Tensor) -> Tensor:
    """LSQ: the rounding's gradient is 1, the clamp's its own; outliers kept in floating point pass."""
    low, high = (limit.double() for limit in quantizer.limits())
    ratio = x / scale
    code = (x.float() / scale.float()).round().detach().double()
    straight = ratio + (code - ratio).detach()
    clamped = torch.where((code >= low) & (code <= high), straight, code.clamp(low, high))
    return torch.where(outliers(quantizer, x), x, clamped * scale)


def expected_gradients(quantizer: Quantizer, x: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """(of x, of the scale), by autograd in float64."""
    x_, scale = (tensor.detach().double().requires_grad_() for tensor in (x, quantizer.scale))
    twins = {
        HybridLog: hybrid_twin, LogSqrt2: log_twin, TwinGelu: gelu_twin, Quantizer: uniform_twin,
    }  # fmt: skip
    twin = next(twin for kind, twin in twins.items() if isinstance(quantizer, kind))
    with torch.no_grad():
        simulated = quantizer(x)
    output = twin(quantizer, x_, scale, simulated.double())
    torch.testing.assert_close(output.float(), simulated, atol=1e-5, rtol=1e-5)
    return torch.autograd.grad((output * direction.double()).sum(), (x_, scale))


def on_the_edge(quantizer: Quantizer, x: Tensor) -> Tensor:
    """Half a step beyond the range, where it is a matter of rounding whether a value counts as clipped."""
    if isinstance(quantizer, (HybridLog, LogSqrt2)):
        return torch.zeros_like(x, dtype=torch.bool)
    if isinstance(quantizer, TwinGelu):
        high, low = x / quantizer.scale.detach(), x / quantizer.negative_scale
        half = quantizer.half
        return ((high - half + 0.5).abs() < 1e-3) | ((low + half + 0.5).abs() < 1e-3)
    ratio, (low, high) = x / quantizer.scale.detach(), quantizer.limits()
    return ((ratio - high - 0.5).abs() < 1e-3) | ((low - 0.5 - ratio).abs() < 1e-3)


def assert_learns(quantizer: Quantizer, x: Tensor) -> None:
    quantizer, x = learning(quantizer), x.clone(memory_format=torch.preserve_format).requires_grad_()
    direction = noise(*x.shape, seed=3).masked_fill(on_the_edge(quantizer, x.detach()), 0.0)
    before = x.detach().clone()
    y = quantizer(x, overwrite=True)
    with torch.no_grad():
        assert torch.equal(y, quantizer(x.contiguous()))
    (y * direction).sum().backward()
    assert torch.equal(x, before)
    of_x, of_scale = expected_gradients(quantizer, x, direction)
    assert quantizer.scale.grad.shape == quantizer.scale.shape
    torch.testing.assert_close(x.grad.double(), of_x, atol=1e-6, rtol=1e-6)
    size = float(of_scale.abs().max())
    assert size > 0
    torch.testing.assert_close(quantizer.scale.grad.double(), of_scale, atol=1e-4 * size, rtol=1e-3)


@pytest.mark.parametrize(("case", "bits"), in_turn(LEARNING, [2, 4, 8], times=2), ids=str)
def test_a_learned_scale_has_the_gradients_of_a_naive_twin(case: Case, bits: int) -> None:
    quantizer, data = case.fitted(bits)
    beyond = torch.cat((data, torch.zeros_like(data), 3 * data), dim=case.batch_axis)
    assert_learns(quantizer, beyond)
    with torch.no_grad():  # coarse: other codes than rounding to the nearest fitted one
        quantizer.scale.mul_(1.7)
    assert_learns(quantizer, beyond)


@every_learning_case
def test_a_learned_scale_has_the_same_gradients_for_any_layout_in_memory(case: Case) -> None:
    quantizer, data = case.fitted()
    assert_learns(quantizer, 3 * data.transpose(0, -1).contiguous().transpose(0, -1))
    strided = torch.stack((data, data), dim=-1)[..., 0].requires_grad_()
    learned, plain = learning(quantizer), learning(quantizer)
    upstream = noise(*data.shape[::-1], seed=4).permute(*reversed(range(data.ndim)))  # strided as well
    learned(strided).backward(upstream)
    plain(data).backward(upstream.contiguous())
    assert torch.equal(learned.scale.grad, plain.scale.grad)


@every_learning_case
def test_a_learned_scale_has_the_same_gradients_in_pieces(case: Case, monkeypatch) -> None:
    quantizer, data = case.fitted()
    monkeypatch.setattr(pieces, "TOGETHER", 64)
    assert_learns(quantizer, 3 * data)


@every_learning_case
def test_a_learned_scale_of_many_values(case: Case) -> None:
    """More than one piece as it is."""
    quantizer, data = case.fitted()
    times = pieces.TOGETHER // data.numel() * 2 + 1
    repeats = [1] * data.ndim
    repeats[case.batch_axis] = times
    assert_learns(quantizer, data.repeat(repeats))


@every_learning_case
def test_a_scale_is_learned_from_half_precision(case: Case) -> None:
    quantizer, data = case.fitted()
    x = data.bfloat16().requires_grad_()
    learned = learning(quantizer)
    learned(x).sum().backward()
    expected = learning(quantizer)
    expected(data.bfloat16().float()).sum().backward()
    assert torch.equal(learned.scale.grad, expected.scale.grad)
    assert x.grad.dtype == torch.bfloat16 and x.grad.isfinite().all()


# -- memory --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("case", "dtype"),
    in_turn(KNOWN + NEW, [torch.float32, torch.float64, torch.bfloat16], times=2),
    ids=str,
)
def test_shape_dtype_and_input_are_kept(case: Case, dtype: torch.dtype) -> None:
    quantizer, data = case.fitted()
    x = data.to(dtype)
    before = x.clone()
    y = quantizer(x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert torch.equal(x, before)


@every_case
@pytest.mark.parametrize("overwrite", [False, True])
def test_layout_in_memory_does_not_matter(case: Case, overwrite: bool) -> None:
    quantizer, data = case.fitted()
    expected = quantizer(data)
    transposed = data.transpose(0, -1).contiguous().transpose(0, -1)
    strided = torch.stack((data, data), dim=-1)[..., 0]
    with torch.no_grad():
        for x in (transposed, strided):
            assert not x.is_contiguous()
            y = quantizer(x, overwrite)
            assert case.same(y, expected)
            assert (y.data_ptr() == x.data_ptr()) == overwrite
        assert quantizer(transposed).stride() == transposed.stride()


@every_case
def test_overwriting_writes_the_same_values_over_its_own_input_only(case: Case) -> None:
    quantizer, data = case.fitted()
    expected = quantizer(data)
    three = torch.stack((data, data, data), dim=1)  # like q, k and v out of one linear layer
    with torch.no_grad():
        y = quantizer(three[:, 1], overwrite=True)
    assert y.data_ptr() == three[:, 1].data_ptr()
    assert case.same(three[:, 1], expected)
    assert torch.equal(three[:, 0], data)
    assert torch.equal(three[:, 2], data)
    assert torch.equal(quantizer(data), expected)  # and nothing was written into the quantizer


@every_case
def test_with_gradients_on_nothing_is_overwritten(case: Case) -> None:
    quantizer, data = case.fitted()
    before = data.clone()
    quantizer(data, overwrite=True)
    assert torch.equal(data, before)


@every_case
@pytest.mark.parametrize("piece", [64, 1000])
def test_cutting_into_pieces_changes_nothing(case: Case, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, data = case.fitted()
    expected = whole(data)
    monkeypatch.setattr(pieces, "PIECE", piece)
    monkeypatch.setattr(pieces, "TOGETHER", piece)
    assert case.same(whole(data), expected)
    torch.testing.assert_close(case.make(4).fit(data)(data), expected)


# -- calibration ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("case", "sizes"), in_turn(KNOWN + NEW, [(1, 7), (3, 3, 2), (1,) * 8], times=2), ids=str
)
def test_batches_fit_as_the_whole_does(case: Case, sizes: tuple[int, ...]) -> None:
    if case.one_batch:
        pytest.skip("resolves its threshold on the first batch")
    whole, data = case.fitted()
    batches = data.tensor_split(torch.tensor(sizes).cumsum(0)[:-1].tolist(), dim=case.batch_axis)
    streamed = case.make(4)
    for batch in batches:
        assert not streamed.fitted
        streamed.observe(batch, share=batch.numel() / data.numel())
    streamed.finish()
    for name in whole.PARAMETERS:
        torch.testing.assert_close(getattr(streamed, name), getattr(whole, name), atol=0, rtol=0)
    assert streamed.sqnr_db == pytest.approx(whole.sqnr_db, abs=1e-3)
    assert streamed.effective_bits == whole.effective_bits


@every_case
def test_fitting_again_forgets_the_first_time(case: Case) -> None:
    quantizer, data = case.fitted()
    quantizer.observe(10 * data, share=0.5)
    other = case.make_data(seed=9)
    quantizer.fit(other)
    assert torch.equal(quantizer(other), case.make(4).fit(other)(other))
    assert quantizer.settings() == case.make(4).fit(other).settings()
    assert quantizer.statistics is None


@every_quantizer
def test_fitting_nothing_is_refused(name: str) -> None:
    quantizer = QUANTIZERS[name](4)
    assert not quantizer.fitted
    with pytest.raises(VitqError, match="without having seen any calibration data"):
        quantizer.finish()


@pytest.mark.parametrize(
    ("name", "value", "shape"),
    all_pairs(
        QUANTIZERS,
        [0.0, 1e-42, 1e-30, 1e-6, 1.0, 1000.0, 1e30, 3e38],
        [(4, 3, 8), (1, 1, 1), (1,)],
    ),
)
def test_constant_tiny_and_huge_values_stay_finite_and_close(name: str, value: float, shape: tuple) -> None:
    ramp = value * torch.linspace(0.0, 1.0, torch.Size(shape).numel()).reshape(shape)
    for x in (torch.full(shape, value), ramp):
        quantizer = QUANTIZERS[name](4).fit(x)
        y = quantizer(x)
        assert y.isfinite().all()
        assert torch.equal(quantizer.decode(quantizer.encode(x)), y)
        assert (y - x).abs().max() <= 0.35 * value + 2e-6  # a step of √2; the shift's ε
        assert all(getattr(quantizer, parameter).isfinite().all() for parameter in quantizer.PARAMETERS)


@every_quantizer
def test_a_constant_is_kept(name: str) -> None:
    for value in (0.0, 0.3, 7.0):
        x = torch.full((2, 3, 4), value)
        torch.testing.assert_close(QUANTIZERS[name](3).fit(x)(x), x, atol=2e-6, rtol=1e-6)


@settings(max_examples=60)
@given(data=st.data(), name=st.sampled_from(list(QUANTIZERS)), bits=st.integers(MIN_BITS, MAX_BITS))
def test_any_values_have_codes_that_decode_to_forward(data: st.DataObject, name: str, bits: int) -> None:
    values = st.floats(0, 2.0**100, width=32)  # not negative: the log quantizer is for probabilities
    x = torch.tensor(data.draw(st.lists(values, min_size=1, max_size=40))).reshape(1, -1, 1)
    quantizer = QUANTIZERS[name](bits).fit(x)
    y = quantizer(x)
    assert y.isfinite().all()
    assert torch.equal(quantizer.decode(quantizer.encode(x)), y)
    largest = float(x.abs().max())
    torch.testing.assert_close(quantizer(y), y, atol=1e-6 + 1e-6 * largest, rtol=1e-5)


# -- storage -------------------------------------------------------------------------------------------
@every_case_at_two_widths
def test_stored_bytes_are_those_of_a_file(case: Case, bits: int) -> None:
    quantizer, data = case.fitted(bits)
    tensors = quantizer.stored_tensors()
    written = save(tensors)
    header = 8 + int.from_bytes(written[:8], "little")
    assert quantizer.stored_bytes() == len(written) - header
    assert quantizer.stored_bytes() <= quantizer.most_stored_bytes() <= quantizer.most_stored_bytes(True)
    restored = case.make(bits)
    restored.restore(
        {name: tensor.float() for name, tensor in load(written).items()}, quantizer.settings(), data.shape
    )
    assert torch.equal(restored(data), quantizer(data))


@every_case
def test_the_bytes_at_most_do_not_depend_on_the_data(case: Case) -> None:
    (quantizer, data), other = case.fitted(2), case.make(8)
    other.fit(0.3 * data)
    for rescaled in (False, True):
        assert other.most_stored_bytes(rescaled) == quantizer.most_stored_bytes(rescaled)


@every_case
def test_settings_and_tensors_restore_an_equal_quantizer(case: Case) -> None:
    quantizer, data = case.fitted(5)
    stored = json.loads(json.dumps(quantizer.settings()))
    tensors = {name: getattr(quantizer, name).clone() for name in quantizer.PARAMETERS}
    restored = QUANTIZERS[case.quantizer](2)
    restored.restore(tensors, stored, data.shape)
    assert restored.fitted
    assert restored.bits == 5
    assert restored.settings() == quantizer.settings()
    assert restored.effective_bits == quantizer.effective_bits
    assert torch.equal(restored(data), quantizer(data))
    assert torch.equal(restored.levels(), quantizer.levels())


@every_case
def test_a_copy_is_equal_and_independent(case: Case) -> None:
    quantizer, data = case.fitted()
    expected = quantizer(data)
    copy = deepcopy(quantizer)
    assert torch.equal(copy(data), expected)
    first_parameter(copy).mul_(2.0)
    assert torch.equal(quantizer(data), expected)


@every_case
def test_a_copy_made_while_calibrating_goes_on_alone(case: Case) -> None:
    data = case.make_data()
    quantizer = case.make(4)
    quantizer.observe(data, share=0.5)
    copy = deepcopy(quantizer)
    copy.observe(5 * data, share=0.5)
    quantizer.finish()
    copy.finish()
    assert torch.equal(quantizer(data), case.make(4).fit(data)(data))
    if case.options.get("range") != "unit":  # whose scale is 1 whatever was seen
        assert not torch.equal(first_parameter(copy), first_parameter(quantizer))
