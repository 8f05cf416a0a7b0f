"""What every quantizer does: watch, fit itself, simulate with a straight-through gradient, encode, decode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..common.errors import VitqError
from ..common.options import Check, whole
from ..common.registry import Registry
from .judges import Judge
from .kernels.gradients import Differentiate, Learned, StraightThrough
from .kernels.pieces import Simulate, in_pieces
from .statistics import Statistics, broadcast_shape
from .storage import compact, fits, number


class Quantizer(nn.Module):
    """Base class. A subclass writes ``_solve`` (fit to statistics), ``encode``, ``decode``, ``levels``.

    That is its formula. What computes the same faster, or learns its scale, is a function of ``kernels`` that
    it hands out in ``_simulator`` and ``_differentiator``. ``bits``: 2..8. Fitted parameters are buffers, so
    they move, copy and save with the model. The options that a user may set are the fields of a dataclass
    ``Options`` on the class (``common.options``), each an argument of the constructor.
    """

    Options: type | None = None
    on_grid = False  # whether its values are evenly spaced, so that integers can be multiplied in their place
    PARAMETERS: tuple[str, ...] = ("scale",)  # the buffers that storage writes
    WHOLE: tuple[str, ...] = ()  # those of them that fitting makes whole numbers
    POSITIVE: tuple[str, ...] = ("scale",)  # those that are above 0
    # The plain attributes that it writes beside them, and what they may be.
    SETTINGS: Mapping[str, Check] = {"bits": whole(2, 8), "sqnr_db": number}

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
            self.statistics = Statistics(self._axes(x), self.by_batch)
        self.statistics.update(x, share)

    def finish(self, judge: Judge | None = None) -> None:
        """Fit the parameters to what was observed and forget it. Raises VitqError if nothing was.

        ``judge``: what ranks candidates where :attr:`judged`; None: the tensor's own squared error.
        """
        if self.statistics is None:
            raise VitqError("a quantizer was asked to fit without having seen any calibration data")
        self._solve(self.statistics, *([judge] if self.judged else []))
        self.statistics = None

    def fit(self, x: Tensor, judge: Judge | None = None) -> Quantizer:
        """Observe ``x`` alone and finish."""
        self.statistics = None
        self.observe(x)
        self.finish(judge)
        return self

    @property
    def by_batch(self) -> bool:
        """Whether its range is made of those of the single batches."""
        return False

    @property
    def judged(self) -> bool:
        """Whether its candidates are ranked by what they do to the output of the layer that reads them."""
        return False

    @property
    def fitted(self) -> bool:
        return getattr(self, self.PARAMETERS[0]) is not None

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
            learned = (getattr(self, name) for name in self.learned_parameters())
            return Learned.apply(x.float().contiguous(), self.simulate, self.gradients, *learned)
        if not (torch.is_grad_enabled() and x.requires_grad):
            return self.simulate(x, out=x if overwrite and not torch.is_grad_enabled() else None)
        with torch.no_grad():
            simulated = self.simulate(x)
        return StraightThrough.apply(x, simulated)

    def simulate(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """``decode(encode(x))`` without the integers, in pieces of bounded size."""
        out = torch.empty_like(x) if out is None else out
        simulate = self._simulator()
        for source, target in in_pieces(self._fitted_tensors(), x, out):
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

    def affine(self) -> tuple[Tensor, Tensor] | None:
        """(scale, zero point) if ``x ≈ scale · (q − zero_point)`` with ``q = clamp(⌊x/scale⌉ + zero_point, 0,
        2^b − 1)`` is all it does, as in ONNX's QuantizeLinear; None otherwise.

        Both broadcast against ``x``; the zero point is whole, but no code where the range leaves out 0.
        """
        return None

    # -- what a search tries --------------------------------------------------------------------------
    searched_alone = False  # whether its candidates are ranked while the other operand is not quantized

    def candidates(self, low: Tensor, high: Tensor, factors: Tensor) -> dict[str, Tensor] | None:
        """{parameter: [candidates, groups]} that a search may try, for extremes [groups] of what is to be
        quantized and what the range that reaches them is multiplied with; None: it fits itself."""
        return None

    def rounded(self, x: Tensor, **parameters: Tensor) -> Tensor:
        """What :meth:`simulate` gives with these in place of its own; they broadcast against ``x``."""
        raise NotImplementedError("abstract: a quantizer that has candidates defines rounded")

    def settle(self, parameters: dict[str, Tensor], like: Tensor) -> None:
        """Use these, [groups] each, for tensors shaped as ``like``, but for the number of pictures."""
        shape = broadcast_shape(like, self._axes(like))
        for name, values in parameters.items():
            setattr(self, name, values.reshape(shape))

    def note_noise(self, x: Tensor, simulated: Tensor) -> None:
        """Keep the ratio of signal to noise of ``simulated``, which stands for ``x``."""
        self._note_error(x, (simulated - x).square().mean())

    # -- what reconstruction learns --------------------------------------------------------------------
    def learned_parameters(self) -> tuple[str, ...]:
        """The names of the parameters that reconstruction learns: numbers above 0. None without gradients."""
        return ()

    @property
    def learning(self) -> bool:
        """Whether gradients reach a learned parameter; they then stop where values are clipped."""
        return self.fitted and any(getattr(self, name).requires_grad for name in self.learned_parameters())

    def gradients(self, x: Tensor, simulated: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
        """The gradients of ``x`` and of every learned parameter, given that of ``simulated``; shaped as they.

        ``simulated`` is written over: whoever multiplied with it has had its own gradient by then, and fresh
        memory costs as much as the arithmetic.
        """
        differentiate = self._differentiator()
        pieces = in_pieces(self._fitted_tensors(), x, simulated, gradient)
        to_scale = sum(differentiate(*piece) for piece in pieces)
        return simulated, (to_scale / self.scale).reshape(self.scale.shape)

    # -- for subclasses --------------------------------------------------------------------------------
    # Both work out once what is the same for all pieces: on small pieces that costs as much as they do.
    def _simulator(self) -> Simulate:
        return lambda source, target: target.copy_(self.decode(self.encode(source)))

    def _differentiator(self) -> Differentiate:
        raise NotImplementedError("abstract: a quantizer whose scale can be learned defines _differentiator")

    def _fitted_tensors(self) -> list[Tensor]:
        return [getattr(self, name) for name in self.PARAMETERS]

    def _axes(self, x: Tensor) -> tuple[int, ...]:
        return ()

    def _solve(self, statistics: Statistics, judge: Judge | None = None) -> None:
        """Set the parameters. A quantizer that is not :attr:`judged` is given the statistics alone."""
        raise NotImplementedError("abstract: a quantizer defines _solve")

    def _note_error(self, sample: Tensor, squared_error: Tensor) -> None:
        """``squared_error``: mean squared error of each group of ``sample``."""
        power = sample.square().mean().clamp_min(1e-30)
        self.sqnr_db = float(10 * torch.log10(power / squared_error.mean().clamp_min(1e-30)))

    # -- for storage -----------------------------------------------------------------------------------
    def stored_tensors(self) -> dict[str, Tensor]:
        """The fitted parameters as a file holds them: whole numbers in the smallest type that does."""
        return {name: compact(getattr(self, name)) for name in self.PARAMETERS}

    def stored_bytes(self) -> int:
        """Bytes of :meth:`stored_tensors`."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.stored_tensors().values())

    def most_stored_bytes(self, rescaled: bool = False) -> int:
        """Bytes that parameters of these shapes take at most, whatever data they are fitted to.

        Whole numbers take two bytes, but four where a norm's rescaling averages or clips them (``rescaled``).
        """
        whole = () if rescaled else self.WHOLE
        return sum(getattr(self, name).numel() * (2 if name in whole else 4) for name in self.PARAMETERS)

    def settings(self) -> dict[str, Any]:
        """JSON-ready: what beside the fitted parameters tells this quantizer from a new one."""
        return {name: getattr(self, name) for name in self.SETTINGS}

    def restore(self, tensors: dict[str, Tensor], settings: dict[str, Any], shape: Sequence[int]) -> None:
        """Set fitted parameters and settings from storage. ``shape``: of the tensor that it quantizes, with 1
        for the pictures of a batch. Raises ValueError for what no fitting makes.
        """
        for name in self.PARAMETERS:
            values = tensors[name]
            if not torch.isfinite(values).all():
                raise ValueError(f"{name} holds NaN or infinite values")
            if name in self.POSITIVE and not (values > 0).all():
                raise ValueError(f"{name} holds values that are not above 0")
            setattr(self, name, values)
        for name, check in self.SETTINGS.items():
            setattr(self, name, check(name, settings[name]))
        self._check_shapes(tuple(shape))
        if not all(torch.isfinite(values).all() for values in self._ends()):
            raise ValueError("its codes stand for values that are not finite")

    def _check_shapes(self, shape: tuple[int, ...]) -> None:
        """Raises ValueError unless the parameters are single numbers, or broadcast against ``shape`` where
        the quantizer has one for each of several groups."""
        for name, values in zip(self.PARAMETERS, self._fitted_tensors(), strict=True):
            if not fits(values, shape if self.grouped else [1] * len(shape)):
                raise ValueError(f"{name} has shape {tuple(values.shape)}, for a tensor of {shape}")

    @property
    def grouped(self) -> bool:
        """Whether there may be parameters for each row, channel or position."""
        return False

    def _ends(self) -> Sequence[Tensor]:
        """The least and the greatest value that codes stand for, of every group; or all of them."""
        return [self.levels()]


QUANTIZERS: Registry[type[Quantizer]] = Registry("quantizer")
