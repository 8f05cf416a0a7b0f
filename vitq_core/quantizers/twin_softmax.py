"""Twin uniform quantizer for post-softmax attention (PTQ4ViT, arXiv 2111.12293): half of the codes evenly up
to a small value, half evenly up to 1."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.checks import check_choice
from ..common.options import check_given, one_of, option
from .base import QUANTIZERS, Quantizer
from .judges import Judge
from .kernels import scaled as kernels
from .statistics import Statistics

SPLITS = tuple(2.0**-i for i in range(20))
TWINS, GRIDS = ("paper", "published"), ("code", "paper")


def checked_twin(name: str, value: object) -> object:
    """None or one of ``TWINS``."""
    check_choice(name, value, (None, *TWINS))
    return value


@dataclass(frozen=True)
class TwinSoftmaxOptions:
    """Of the quantizer."""

    # which formula; None: the recipe's
    twin: str | None = option(
        None, "Attention codes", checked_twin, short="attention codes",
        choices={"as the paper says": "paper", "as the published code adds": "published"},
        hint="The published code adds the two parts where it should choose between them.",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_given(self)


@QUANTIZERS.register("twin_softmax")
class TwinSoftmax(Quantizer):
    """``x̂ = x ≤ p ? low : high``; low: h codes evenly over [0, p], high: h codes evenly over [0, 1].

    ``scale``: what stands for 1, which is 1 where values are probabilities; ``split``: p, a power of two.
    ``twin="published"`` is the published code, which adds both parts, each of what is clamped to its side: so
    every value above p comes out near x + p. ``grid``: ``"code"``: both grids reach their end; ``"paper"``:
    steps of 1/h, whose last code ends one before it. A p that is met exactly has a code on the low grid.
    """

    Options = TwinSoftmaxOptions
    PARAMETERS = POSITIVE = ("scale", "split")
    SETTINGS = {**Quantizer.SETTINGS, "twin": one_of(TWINS), "grid": one_of(GRIDS)}
    # PTQ4ViT ranks its splits while the values that attention averages are in full precision
    searched_alone = True

    def __init__(self, bits: int, twin: str = "paper", grid: str = "code") -> None:
        super().__init__(bits)
        self.twin, self.grid = one_of(TWINS)("twin", twin), one_of(GRIDS)("grid", grid)

    @property
    def half(self) -> int:
        """h."""
        return 2 ** (self.bits - 1)

    @property
    def steps(self) -> int:
        """In [0, 1]."""
        return self.half - (self.grid == "code")

    def _solve(self, statistics: Statistics, judge: Judge | None = None) -> None:
        statistics.thin(kernels.SEARCHED)
        sample, top = statistics.sample, statistics.range()[1][0].to(statistics.device)
        top = torch.where(top > torch.finfo(top.dtype).tiny, top, torch.ones_like(top))
        scales = [top] if top > 1 else [torch.ones_like(top), top]
        tried = [(scale, torch.tensor(split).to(top)) for scale in scales for split in SPLITS]
        errors = [
            float((self.rounded(sample / top, s / top, p) - sample / top).square_().mean()) for s, p in tried
        ]
        self.scale, self.split = tried[min(range(len(tried)), key=errors.__getitem__)]
        self._note_error(sample, (self.simulate(sample) - sample).square_().mean(1))

    def candidates(self, low: Tensor, high: Tensor, factors: Tensor) -> dict[str, Tensor]:
        splits = torch.tensor(SPLITS, device=high.device)[:, None].expand(-1, len(high))
        return {"scale": torch.ones_like(splits), "split": splits}

    def rounded(self, x: Tensor, scale: Tensor, split: Tensor) -> Tensor:
        return self._values(*self._codes(x, scale, split), scale, split)

    def _codes(self, x: Tensor, scale: Tensor, split: Tensor) -> tuple[Tensor, Tensor]:
        """(codes on the grid, whether it is the low one)."""
        edge = split * scale
        low = x < edge if self.twin == "published" else x <= edge
        grid = torch.where(low, edge, scale)
        return (x / grid).mul_(self.steps).round_().clamp_(0, self.half - 1), low

    def _values(self, codes: Tensor, low: Tensor, scale: Tensor, split: Tensor) -> Tensor:
        edge = split * scale
        values = (codes / self.steps) * torch.where(low, edge, scale)
        if self.twin == "paper":
            return values
        high_at_edge = (split * self.steps).round() / self.steps * scale
        return values + torch.where(low, high_at_edge, edge)

    def encode(self, x: Tensor) -> Tensor:
        """The codes below h are those of the low grid."""
        codes, low = self._codes(x, self.scale, self.split)
        return codes.add_(self.half * ~low).int()

    def decode(self, codes: Tensor) -> Tensor:
        low = codes < self.half
        return self._values((codes - self.half * ~low).float(), low, self.scale, self.split)

    def levels(self) -> Tensor:
        """Those that some value gets: of the high grid, what is not below p."""
        codes = torch.arange(2**self.bits, device=self.scale.device)
        values = self.decode(codes)
        used = (codes < self.half) | (values > self.split * self.scale)
        return values[used].sort().values
