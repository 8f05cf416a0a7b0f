"""Per-patch outlier-aware quantizer for post-LayerNorm activations (ADFQ-ViT, arXiv 2407.02763)."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

import torch
from torch import Tensor

from ..common.options import check_given, number, option, whole
from .base import QUANTIZERS
from .judges import Judge
from .kernels import uniform as kernels
from .uniform import Uniform


@dataclass(frozen=True)
class OutlierOptions:
    """Which values stay exact."""

    alpha: float | None = option(  # threshold on |x|
        None, "Values above α stay exact", number(0.0), short="α", hint="For example 5."
    )
    alpha_ratio: float | None = option(
        None, "Share of values to keep exact", number(0.0, 0.5), short="share kept exact",
        hint="In place of α: 0.005 keeps the largest 0.5 %.",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_given(self)
        if self.alpha is not None and self.alpha_ratio is not None:
            raise ValueError("give alpha or alpha_ratio, not both: each sets the outlier threshold")


@QUANTIZERS.register("per_patch_outlier")
class PerPatchOutlier(Uniform):
    """Values with ``|x| > α`` stay as they are; the rest is uniform with one (s, z) per patch position.

    Input [batch, positions…, channels]; every axis that is neither batch nor channel is a position (arXiv
    2407.02763 section 3.2; for Swin that is the window position or (h, w)). ``alpha``: the threshold;
    ``alpha_ratio``: a share of values to keep instead, resolved to a threshold on the first batch. Kept
    values count as 0 for the fit.

    Codes of kept values are their float32 bit patterns read as int32, which no b-bit code collides with.
    """

    Options = OutlierOptions
    on_grid = False  # values kept as they are have no code
    PARAMETERS = ("scale", "zero_point", "alpha")
    SETTINGS = {
        **Uniform.SETTINGS, "alpha_ratio": number(0.0, 0.5), "kept": whole(0), "seen": whole(0),
        "channels": whole(0),
    }  # fmt: skip

    def __init__(self, bits: int, alpha: float = 5.0, alpha_ratio: float | None = None) -> None:
        super().__init__(bits)
        self._alpha = number(0.0)("alpha", alpha)
        self.alpha_ratio = number(0.0, 0.5)("alpha_ratio", alpha_ratio)
        self.kept = self.seen = self.channels = 0

    def _axes(self, x: Tensor) -> tuple[int, ...]:
        return tuple(range(1, x.ndim - 1))

    def observe(self, x: Tensor, share: float = 1.0) -> None:
        if self.alpha is None:  # a ratio is resolved on the first batch: the scales need the threshold
            self.alpha = torch.tensor(self._threshold(x), device=x.device)
        kept = x.abs() > self.alpha
        self.kept, self.seen, self.channels = self.kept + int(kept.sum()), self.seen + x.numel(), x.shape[-1]
        super().observe(x.masked_fill(kept, 0.0), share)

    def fit(self, x: Tensor, judge: Judge | None = None) -> PerPatchOutlier:
        self.alpha, self.kept, self.seen = None, 0, 0
        return super().fit(x, judge)

    def _threshold(self, x: Tensor) -> float:
        if self.alpha_ratio is None:
            return self._alpha
        magnitudes = x.detach().abs().flatten()
        rank = magnitudes.numel() - ceil(self.alpha_ratio * magnitudes.numel())
        return float(magnitudes.kthvalue(max(rank, 1)).values)

    @property
    def outlier_ratio(self) -> float:
        """Share of the calibration values kept in floating point."""
        return self.kept / max(self.seen, 1)

    @property
    def effective_bits(self) -> float:
        """``b + ratio · (16 + ⌈log2 D⌉)``: a kept value is an fp16 number and its index among D."""
        return self.bits + self.outlier_ratio * (16 + ceil(log2(max(self.channels, 2))))

    def _check_shapes(self, shape: tuple[int, ...]) -> None:
        """One scale for each position, one threshold."""
        super()._check_shapes(shape)
        if self.alpha.numel() != 1 or tuple(self.scale.shape[1:-1]) != shape[1:-1]:
            fitted = tuple(self.scale.shape)
            raise ValueError(f"scale has shape {fitted}, for a tensor of {shape} with one for each position")

    def _check(self, x: Tensor) -> None:
        fitted, got = tuple(self.scale.shape[1:-1]), tuple(x.shape[1:-1])
        if got != fitted:
            raise ValueError(
                f"calibrated for {fitted} patch positions, got {got}: "
                "one scale per position needs pictures of the calibration size"
            )

    def simulate(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        self._check(x)
        return super().simulate(x, out)

    def encode(self, x: Tensor) -> Tensor:
        self._check(x)
        kept = x.float().contiguous().view(torch.int32)
        return torch.where(x.abs() > self.alpha, kept, super().encode(x))

    def decode(self, codes: Tensor) -> Tensor:
        kept = (codes < 0) | (codes > 2**self.bits)
        values = super().decode(codes.masked_fill(kept, 0))
        return torch.where(kept, codes.contiguous().view(torch.float32), values)

    def affine(self) -> None:
        """Values kept as they are have no code."""
        return None

    def _simulator(self) -> kernels.Simulate:
        return kernels.keeping_outliers(super()._simulator(), self.alpha.item())
