"""How long and how hard a reconstruction works: the published settings, and presets by effort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..common.checks import check_choice, check_count, check_name, check_number, check_options, check_share

PUBLISHED_ITERATIONS = 3000
# Of the last stage: the best of four pairs of steps on cifar10-vit at W3/A3, and of ways for a scale there
# and on demo-vit at W4/A4, where 1.0 made the error nine times what it was.
FINISH_SCALE_LR, FINISH_AFFINE_LR, FINISH_TRAVEL = 1e-4, 3e-5, 0.1
WEIGHTINGS = ("none", "tokens", "fisher", "perturbation")
# What a picture costs, in forward passes of a unit: to be put through it before and after, and an iteration.
GATHER, STEP = 4, 5


@dataclass(frozen=True)
class Schedule:
    """Settings of the reconstruction. The defaults are ADFQ-ViT's (arXiv 2407.02763, section 4.1 and code).

    ``pictures``: at most so many of the calibration pictures. ``rounding_lr``, ``scale_lr``: Adam's step for
    AdaRound's v and, with a cosine to 0, for the activation scales; None: the published 3e-3 and 4e-5, larger
    in proportion where there are fewer iterations than the published 3,000 (v has the same way to go).
    ``kl_lambda``, ``temperature``: attention modules add (1/λ)·KL(softmax(A/T) ‖ softmax(Â/T)); λ = None
    leaves it out. ``rounding_weight``, ``beta_start``, ``beta_end``, ``warmup``: AdaRound's term
    w·Σ(1 − |2h − 1|^β), β falling from start to end after a share of the iterations without it. ``drop``:
    probability with which an input element is the full-precision one (QDrop). ``autocast``: bfloat16 for the
    multiplications; None: where the processor has units for it.

    Not in the paper: ``scale_travel``: a scale's steps together are at most so many times itself, those of a
    given ``scale_lr`` too;
    ``blocks``: whole blocks with their residual additions in place of attentions and MLPs;
    ``affine_lr``: Adam's step for biases, norms and layer scales, None: they stay; ``weight_scales``: the
    weights' scales are learned as well; ``weighting``: what the output's squared error is weighed by, one of
    ``WEIGHTINGS`` (tokens: each as a share of its own square, class tokens more; perturbation: APHQ-ViT's);
    ``finish``: after the units the whole model learns, for so many times the iterations and in steps of its
    own, what is no code of a weight; ``finish_bits``: only where weights have at most so many bits on
    average, None: always;
    ``compare``: all units go back to their calibrated state where the model's answers became worse, to those
    of the pictures that measure which nothing else was made from, where there are any.
    """

    iterations: int = PUBLISHED_ITERATIONS
    pictures: int = 1024
    batch_size: int = 32
    rounding_lr: float | None = None
    scale_lr: float | None = None
    kl_lambda: float | None = 0.1
    temperature: float = 4.0
    rounding_weight: float = 0.01
    beta_start: float = 20.0
    beta_end: float = 2.0
    warmup: float = 0.2
    drop: float = 0.5
    autocast: bool | None = None
    scale_travel: float | None = None
    blocks: bool = False
    affine_lr: float | None = None
    weight_scales: bool = False
    weighting: str = "none"
    finish: float = 0.0
    finish_bits: float | None = None
    compare: bool = False

    def __post_init__(self) -> None:
        check_count("iterations", self.iterations, "; effort='none' leaves reconstruction out")
        check_count("batch_size", self.batch_size)
        check_count("pictures", self.pictures)
        if self.pictures < self.batch_size:
            raise ValueError(f"pictures={self.pictures} is fewer than a batch of {self.batch_size}")
        for name in ("rounding_lr", "scale_lr", "kl_lambda", "scale_travel", "affine_lr", "finish_bits"):
            check_number(name, getattr(self, name), above=0.0)
        for name in ("temperature", "beta_start", "beta_end"):
            check_share(name, getattr(self, name), least=1e-3, most=1e3)
        check_share("rounding_weight", self.rounding_weight, most=1e6)
        check_share("warmup", self.warmup)
        check_share("drop", self.drop)
        check_choice("autocast", self.autocast, (None, True, False))
        for name in ("blocks", "weight_scales", "compare"):
            check_choice(name, getattr(self, name), (True, False))
        check_choice("weighting", self.weighting, WEIGHTINGS)
        check_share("finish", self.finish, most=10.0)

    @property
    def steps(self) -> tuple[float, float]:
        """(rounding_lr, scale_lr), resolved."""
        stretch = max(1.0, PUBLISHED_ITERATIONS / self.iterations)
        rounding = min(3e-3 * stretch, 0.1) if self.rounding_lr is None else self.rounding_lr
        return rounding, min(4e-5 * stretch, 1e-3) if self.scale_lr is None else self.scale_lr

    def passes(self, pictures: int, iterations: int) -> int:
        """What ``iterations`` of a unit cost with so many pictures: forward passes of single pictures."""
        return GATHER * pictures + STEP * iterations * self.batch_size

    @property
    def finishing(self) -> Schedule:
        """For the whole model at the end: what its task compares, from its own inputs, in smaller steps."""
        plain = {
            "kl_lambda": None,
            "drop": 0.0,
            "blocks": False,
            "weighting": "none",
            "finish": 0.0,
        }
        steps = {
            "scale_lr": FINISH_SCALE_LR,
            "scale_travel": FINISH_TRAVEL,
            "affine_lr": self.affine_lr and FINISH_AFFINE_LR,
        }
        return replace(self, iterations=max(1, round(self.finish * self.iterations)), **plain, **steps)


EFFORTS: dict[str, Schedule] = {
    # Of so few iterations with so few pictures the last stage makes nothing better but two-bit weights.
    "quick": Schedule(iterations=60, pictures=128, batch_size=8, scale_travel=1.0, finish_bits=2.5),
    "standard": Schedule(iterations=150, pictures=512, scale_travel=1.0),
    "paper": Schedule(),
}
EFFORT_NAMES = ("none", *EFFORTS)


SETTINGS = frozenset(field.name for field in fields(Schedule))


def schedule_for(effort: str, settings: Mapping[str, Any]) -> Schedule:
    """The schedule of ``effort`` with ``settings`` in place of its own. Raises ValueError for wrong ones."""
    check_options("reconstruction", settings, sorted(SETTINGS), "setting")
    return replace(EFFORTS[check_name("effort", effort, EFFORTS)], **settings)
