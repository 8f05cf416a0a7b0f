"""What every quantizer does: watch, fit itself, simulate with a straight-through gradient, encode, decode."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..common.errors import VitqError
from ..common.registry import Registry
from .statistics import Statistics

PERCENTILES = (0.999, 0.9999, 0.99999)  # the candidates of RepQ-ViT's and ADFQ-ViT's range search
PIECE = 2**17  # values a search simulates at a time: they stay in a core's second-level cache
TOGETHER = 2**20  # values a model simulates at a time: fewer calls are worth more there


class _StraightThrough(torch.autograd.Function):
    """Forward the simulated value, backward as if nothing were rounded (rounding has gradient zero)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, simulated: Tensor) -> Tensor:
        return simulated

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def passing(gradient: Tensor, x: Tensor, low: float, high: float, out: Tensor) -> Tensor:
    """``gradient`` where low < x < high, else 0, into ``out``: one pass, where a mask would take three."""
    return torch.ops.aten.hardtanh_backward.grad_input(gradient, x, low, high, grad_input=out)


class _Learned(torch.autograd.Function):
    """Forward the simulated value, backward to the input and to the scale, which is being learned."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, quantizer: Quantizer) -> Tensor:
        simulated = quantizer.simulate(x)
        ctx.save_for_backward(x, simulated)
        ctx.quantizer = quantizer
        return simulated

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        return *ctx.quantizer.gradients(*ctx.saved_tensors, gradient.contiguous()), None


def plain(*parameters: Tensor) -> tuple[Tensor, ...] | tuple[float, ...]:
    """As plain numbers where each is a single one: those take the processor's vector instructions."""
    if any(parameter.numel() > 1 or parameter.is_cuda for parameter in parameters):
        return parameters
    return tuple(parameter.item() for parameter in parameters)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Σ a·b."""
    return torch.dot(a.reshape(-1), b.reshape(-1))


class Quantizer(nn.Module):
    """Base class. A subclass writes ``_solve`` (parameters from statistics), ``encode`` and ``decode``.

    ``bits``: 2..8. Fitted parameters are buffers, so they move, copy and save with the model.
    """

    PARAMETERS: tuple[str, ...] = ("scale",)  # the buffers that storage writes
    SETTINGS: tuple[str, ...] = ("bits", "sqnr_db")  # the plain attributes that it writes beside them

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.sqnr_db = float("nan")  # signal to noise on the calibration sample
        self.statistics: Statistics | None = None
        for name in self.PARAMETERS:
            self.register_buffer(name, None)

    # -- calibration ---------------------------------------------------------------------------------
    def observe(self, x: Tensor, share: float = 1.0) -> None:
        """Watch a batch ``x``, which is about ``share`` of all the calibration data."""
        if self.statistics is None:
            self.statistics = Statistics(self._axes(x))
        self.statistics.update(x, share)

    def finish(self) -> None:
        """Fit the parameters to what was observed and forget it. Raises VitqError if nothing was."""
        if self.statistics is None:
            raise VitqError("a quantizer was asked to fit without having seen any calibration data")
        self._solve(self.statistics)
        self.statistics = None

    def fit(self, x: Tensor) -> Quantizer:
        """Observe ``x`` alone and finish."""
        self.statistics = None
        self.observe(x)
        self.finish()
        return self

    @property
    def fitted(self) -> bool:
        return getattr(self, self.PARAMETERS[0]) is not None

    @property
    def learning(self) -> bool:
        """Whether the scale is being learned: gradients then reach it, and stop where values are clipped."""
        return self.scale is not None and self.scale.requires_grad

    @property
    def effective_bits(self) -> float:
        """Bits a value really takes; more than ``bits`` where values are kept in floating point."""
        return float(self.bits)

    # -- simulation and codes -------------------------------------------------------------------------
    def forward(self, x: Tensor, overwrite: bool = False) -> Tensor:
        """The value that the code of ``x`` stands for, same shape and type.

        ``overwrite``: ``x`` may be written over, which happens where gradients are off.
        """
        if torch.is_grad_enabled() and self.learning:
            return _Learned.apply(x.float().contiguous(), self.scale, self)
        if not (torch.is_grad_enabled() and x.requires_grad):
            return self.simulate(x, out=x if overwrite and not torch.is_grad_enabled() else None)
        with torch.no_grad():
            simulated = self.simulate(x)
        return _StraightThrough.apply(x, simulated)

    def simulate(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """``decode(encode(x))`` without the integers, in pieces of bounded size."""
        out = torch.empty_like(x) if out is None else out
        simulate = self._simulator()
        for source, target in self._pieces(x, out):
            simulate(source, target)
        return out

    def encode(self, x: Tensor) -> Tensor:
        """Integer codes (int32), same shape as ``x``."""
        raise NotImplementedError("abstract: a quantizer defines encode")

    def decode(self, codes: Tensor) -> Tensor:
        """Floating-point values (float32) of integer ``codes``."""
        raise NotImplementedError("abstract: a quantizer defines decode")

    def levels(self) -> Tensor:
        """The sorted values that codes stand for, [levels], of the first group: for a plot."""
        raise NotImplementedError("abstract: a quantizer defines levels")

    def gradients(self, x: Tensor, simulated: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of input and scale, given that of ``simulated``; shapes as ``x`` and ``scale``.

        ``simulated`` is written over: whoever multiplied with it has had its own gradient by then, and fresh
        memory costs as much as the arithmetic.
        """
        differentiate = self._differentiator()
        to_scale = sum(differentiate(*piece) for piece in self._pieces(x, simulated, gradient))
        return simulated, (to_scale / self.scale).reshape(self.scale.shape)

    # -- for subclasses --------------------------------------------------------------------------------
    # Both work out once what is the same for all pieces: on small pieces that costs as much as they do.
    def _simulator(self) -> Callable[[Tensor, Tensor], object]:
        """A function of (source, target), which may be the same memory: the simulated values into target."""
        return lambda source, target: target.copy_(self.decode(self.encode(source)))

    def _differentiator(self) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """A function of (x, simulated, gradient): the input's gradient is written over ``simulated``, the
        scale's, times the scale, is returned: in the scale's shape, or a single number's."""
        raise NotImplementedError("abstract: a quantizer whose scale can be learned defines _differentiator")

    def _pieces(self, *tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
        """Cut alike along the batch; tensors whose parameters differ along that axis stay whole."""
        x, scale = tensors[0], self.scale
        if x.numel() <= TOGETHER or (scale.ndim == x.ndim and scale.shape[0] > 1) or x.is_cuda:
            return (tensors,)
        rows = max(1, TOGETHER * len(x) // x.numel())
        return zip(*(tensor.split(rows) for tensor in tensors), strict=True)

    def _axes(self, x: Tensor) -> tuple[int, ...]:
        return ()

    def _solve(self, statistics: Statistics) -> None:
        raise NotImplementedError("abstract: a quantizer defines _solve")

    def _note_error(self, sample: Tensor, squared_error: Tensor) -> None:
        """``squared_error``: mean squared error of each group of ``sample``."""
        power = sample.square().mean().clamp_min(1e-30)
        self.sqnr_db = float(10 * torch.log10(power / squared_error.mean().clamp_min(1e-30)))

    # -- for storage -----------------------------------------------------------------------------------
    def settings(self) -> dict[str, Any]:
        """JSON-ready: what beside the fitted parameters tells this quantizer from a new one."""
        return {name: getattr(self, name) for name in self.SETTINGS}

    def restore(self, tensors: dict[str, Tensor], settings: dict[str, Any]) -> None:
        """Set fitted parameters and settings from storage."""
        for name in self.PARAMETERS:
            setattr(self, name, tensors[name])
        for name in self.SETTINGS:
            setattr(self, name, settings[name])


QUANTIZERS: Registry[type[Quantizer]] = Registry("quantizer")
