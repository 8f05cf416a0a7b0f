"""AdaRound (arXiv 2004.10568): whether each weight is rounded up or down is learned."""

from __future__ import annotations

import torch
from torch import Tensor

from ..common.errors import VitqError
from ..quantized.simulation import SimulatedWeight
from ..quantizers import Uniform
from ..quantizers.kernels.gradients import zero_outside

TINY = 1e-30
ZETA, GAMMA = 1.1, -0.1  # h(v) = clamp(σ(v)·(ζ − γ) + γ, 0, 1)


class Rounding:
    """``Ŵ = s·(clamp(⌊W/s⌋ + h(v) + z, 0, 2^b − 1) − z)`` of one layer, shown by its parametrization.

    ``v`` starts where h(v) is the fraction of W/s, so that Ŵ is W inside the range. Between :meth:`show` and
    :meth:`collect` the loss is computed and its gradient taken.
    """

    def __init__(self, parametrization: SimulatedWeight, weight: Tensor, learn_scale: bool = False) -> None:
        """``weight``: before quantization. Raises VitqError for a quantizer that does not round to a grid."""
        quantizer = parametrization.quantizer
        if not isinstance(quantizer, Uniform):
            raise VitqError(f"the rounding of {type(quantizer).__name__} weights cannot be learned")
        self._parametrization = parametrization
        self._quantizer, (low, high) = quantizer, quantizer.limits()
        ratio = weight / quantizer.scale
        below = ratio.floor()
        fraction = ratio - below
        self._floor = below.clamp(low, high)
        # A weight outside the range has one code whatever h says, so no gradient.
        self._free = ((below >= low) & (below < high)).to(weight.dtype)
        self.scale = quantizer.scale.detach().clone().requires_grad_(learn_scale)
        self.v = -torch.log((ZETA - GAMMA) / (fraction - GAMMA) - 1)
        self.v.requires_grad_()
        self._sigmoid, self._h, self._shown = (torch.empty_like(weight) for _ in range(3))
        self._shown.requires_grad_()

    def show(self) -> None:
        """Put the softly rounded weight in the layer's place."""
        with torch.no_grad():
            torch.sigmoid(self.v, out=self._sigmoid)
            torch.mul(self._sigmoid, ZETA - GAMMA, out=self._h).add_(GAMMA).clamp_(0.0, 1.0)
            torch.addcmul(self._floor, self._free, self._h, out=self._shown.detach()).mul_(self.scale)
        self._shown.grad = None
        self._parametrization.simulated = self._shown

    def collect(self, weight: float, beta: float) -> None:
        """The gradients: of v the loss's plus that of ``weight``·Σ(1 − |2h − 1|^β), of a learned scale."""
        gradient = self._shown.grad
        if gradient is None:  # the loss does not depend on this layer: patches do not on what pools them
            return
        if self.scale.requires_grad:
            self.scale.grad = (gradient * self._shown.detach()).sum_to_size(self.scale.shape) / self.scale
        gradient.mul_(self.scale.detach()).mul_(self._free)
        if weight:
            side = 2 * self._h - 1
            # A power of such exponents by way of the logarithm: pow takes twice the time.
            pull = side.abs().clamp_min_(TINY).log_().mul_(beta - 1).exp_().copysign_(side)
            gradient.addcmul_(pull, self._free, value=-2 * beta * weight)
        zero_outside(gradient, self._h, 0.0, 1.0, out=gradient)
        self.v.grad = torch.ops.aten.sigmoid_backward(gradient, self._sigmoid).mul_(ZETA - GAMMA)

    def settle(self, weight: Tensor) -> None:
        """Round for good, up where v ≥ 0: ``weight`` becomes what its codes stand for."""
        with torch.no_grad():
            self._quantizer.scale = self.scale.detach()
            weight.copy_((self._floor + self._free * (self.v >= 0)) * self.scale)
        self._parametrization.refresh(weight)
