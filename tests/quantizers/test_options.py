"""Options stand at their quantizer, which checks them; somebody else's quantizer is one like any other."""

from dataclasses import FrozenInstanceError, dataclass
from inspect import signature

import pytest
import torch
from torch import Tensor

from vitq_core.common.options import check_given, number, option, options_of
from vitq_core.quantizers import QUANTIZERS, LogSqrt2, PerPatchOutlier, Quantizer, ShiftLog2, Uniform
from vitq_core.quantizers.statistics import Statistics

every_quantizer = pytest.mark.parametrize("name", list(QUANTIZERS))


@every_quantizer
def test_every_option_is_an_argument_of_the_constructor(name: str) -> None:
    quantizer = QUANTIZERS[name]
    arguments = signature(quantizer.__init__).parameters
    for declared in options_of(quantizer).values():
        assert declared.default is None, "what the recipe's rules say"
        assert declared.argument in arguments
        for value in (declared.choices or {}).values():
            given = getattr(quantizer.Options(**{declared.argument: value}), declared.argument)
            assert quantizer(4, **{declared.argument: given}).fit(torch.rand(2, 3, 4)).fitted


@every_quantizer
def test_what_nobody_set_is_not_checked_away(name: str) -> None:
    declared = options_of(QUANTIZERS[name]).values()
    if declared:
        nothing = QUANTIZERS[name].Options()
        assert all(getattr(nothing, each.argument) is None for each in declared)


@pytest.mark.parametrize(
    ("quantizer", "given", "message"),
    [
        (PerPatchOutlier, {"alpha": 0.0}, "alpha must be a number above 0, got 0.0"),
        (PerPatchOutlier, {"alpha": "much"}, "alpha must be a number above 0, got 'much'"),
        (
            PerPatchOutlier,
            {"alpha_ratio": 0.5},
            "alpha_ratio must be a number above 0 and below 0.5, got 0.5",
        ),
        (
            PerPatchOutlier,
            {"alpha": 5.0, "alpha_ratio": 0.1},
            "give alpha or alpha_ratio, not both: each sets the outlier threshold",
        ),
        (LogSqrt2, {"base": 1.0}, "log_base must be a number above 1 and below 16, got 1.0"),
        (ShiftLog2, {"base": 16}, "log_base must be a number above 1 and below 16, got 16"),
        (ShiftLog2, {"base": True}, "log_base must be a number above 1 and below 16, got True"),
        (LogSqrt2, {"base": "e"}, "log_base must be a number above 1 and below 16, got 'e'"),
    ],
)
def test_the_declaration_alone_refuses(quantizer: type[Quantizer], given: dict, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        quantizer.Options(**given)
    assert str(raised.value) == message


def test_values_are_kept_as_they_are_used() -> None:
    assert LogSqrt2.Options(base="sqrt2").base == 2.0**0.5
    assert ShiftLog2.Options(base="fitted").base == "fitted"
    assert PerPatchOutlier.Options(alpha=3).alpha == 3
    with pytest.raises(FrozenInstanceError):
        PerPatchOutlier.Options(alpha=3).alpha = 4


# -- somebody else's -----------------------------------------------------------------------------------
class Thirds(Quantizer):
    """Formula alone, without ``kernels``, and with an option that has to be named."""

    @dataclass(frozen=True)
    class Options:
        margin: float | None = option(None, "Room above the largest", number(0.0))

        def __post_init__(self) -> None:
            check_given(self)

    PARAMETERS = ("width",)

    def __init__(self, bits: int, *, margin: float = 1.0) -> None:
        super().__init__(bits)
        self.margin = margin

    def _solve(self, statistics: Statistics) -> None:
        self.width = self.margin * statistics.sample.abs().max() / 3

    def encode(self, x: Tensor) -> Tensor:
        return (x / self.width).round().clamp(-3, 3).int()

    def decode(self, codes: Tensor) -> Tensor:
        return codes * self.width

    def levels(self) -> Tensor:
        return torch.arange(-3, 4) * self.width


def test_a_quantizer_is_its_formula_alone() -> None:
    x = torch.randn(40, 30, generator=torch.Generator().manual_seed(0))
    quantizer = Thirds(3, margin=1.5).fit(x)
    assert quantizer.width == 1.5 * x.abs().max() / 3
    expected = quantizer.decode(quantizer.encode(x))
    assert torch.equal(quantizer(x), expected)
    trained = x.clone().requires_grad_()
    quantizer(trained).sum().backward()
    assert torch.equal(trained.grad, torch.ones_like(x))
    assert quantizer.learned_parameters() == () and not quantizer.learning and quantizer.affine() is None
    assert (quantizer.stored_bytes(), quantizer.most_stored_bytes()) == (4, 4)


def test_its_declaration_refuses_too() -> None:
    assert options_of(Thirds)["margin"].argument == "margin"
    with pytest.raises(ValueError, match="margin must be a number above 0, got -1"):
        Thirds.Options(margin=-1)


def test_uniform_has_none() -> None:
    """``axis`` and ``range`` are the recipe's rules to set."""
    assert options_of(Uniform) == {}
