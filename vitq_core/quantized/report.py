"""What a quantized model costs, site by site and in all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from ..common.records import Record
from ..graph.site import WEIGHT, Site
from ..quantizers import Kept, LogSqrt2, PowerOfTwo
from .cost import MEGABYTE, cost_of, float_bytes, quantized_bytes
from .simulation import Simulation

if TYPE_CHECKING:
    from ..models import Model

ALWAYS_FLOAT = (
    "LayerNorm, softmax, activation functions, residual additions, biases, tokens and position embedding"
)


@dataclass(frozen=True)
class SiteRow(Record):
    """One site: its quantizer, bits, what a value really takes, share of outliers kept, SQNR in dB."""

    layer: str
    tensor: str
    role: str
    quantizer: str
    bits: int
    effective_bits: float
    outlier_ratio: float
    sqnr_db: float
    params: int
    macs: int


FLOAT_BITS = 32
MATRICES = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.MultiheadAttention)
LEARNING, RECONSTRUCTED = "learning", "reconstructed"


@dataclass(frozen=True)
class UnitRow(Record):
    """One unit of the reconstruction: ‖O − Ô‖² / ‖O‖² of its output before and after, rounded for good, each
    element weighed as the schedule says; of the whole model its task's loss, as a share of that of zeros.

    ``outcome``: RECONSTRUCTED, or why it was kept as it was; LEARNING while it is not over. ``losses``: what
    was minimized, in order, means of equally many iterations.
    """

    unit: str
    outcome: str
    error_before: float
    error_after: float
    iterations: int
    seconds: float
    losses: tuple[float, ...]


@dataclass(frozen=True)
class StageRow(Record):
    """One optional pass, tried on calibration pictures: how far held-back answers lay from full precision's
    without it and with it (geometric mean of ``Task.loss``), and whether it was kept. ``does``: what it is
    for, for people.
    """

    stage: str
    does: str
    before: float
    after: float
    kept: bool


@dataclass(frozen=True)
class Report(Record):
    """Sizes in MB (10⁶ bytes, as save_quantized writes them); average bits weighted by parameters and MACs.

    ``effective_act_bits`` counts the outliers kept in floating point; ``gbops`` is Σ MACs · weight bits ·
    activation bits / 10⁹ for one picture, with one prompt where it takes prompts; ``seconds``: of this call,
    without those of a stopped run that it went on with. ``kept_float``, ``kept_8bit``: what the nominal bits
    do not cover.
    ``units``: what reconstruction did, those done before it was cancelled; empty without one.
    ``cancelled``: whether it was. ``stages``: the passes that were tried first, where the recipe does that.
    ``calibration``: SHA-256 of the calibration pictures as the model was given them, in their order
    (``digest_of_pictures``), ``seed``: all randomness; empty and None in what was made before they were kept.
    """

    recipe: str
    size_mb: float
    fp32_size_mb: float
    avg_weight_bits: float
    avg_act_bits: float
    effective_act_bits: float
    gbops: float
    seconds: float
    pictures: int
    preprocessing: str
    kept_float: tuple[str, ...]
    kept_8bit: tuple[str, ...]
    sites: tuple[SiteRow, ...]
    units: tuple[UnitRow, ...] = ()
    cancelled: bool = False
    stages: tuple[StageRow, ...] = ()
    calibration: str = ""
    seed: int | None = None

    @property
    def compression(self) -> float:
        return self.fp32_size_mb / self.size_mb

    @property
    def fp32_gbops(self) -> float:
        """What ``gbops`` would be with 32 bits for every operand."""
        return FLOAT_BITS**2 * sum({row.layer: row.macs for row in self.sites}.values()) / 1e9


@dataclass(frozen=True)
class Reconstruction:
    """What the pass did: one row for every unit done, and whether it was cancelled before the others."""

    units: tuple[UnitRow, ...] = ()
    cancelled: bool = False


NO_RECONSTRUCTION = Reconstruction()


def build_report(
    simulation: Simulation,
    original: nn.Module,
    seconds: float,
    pictures: int,
    source: Model | None,
    reconstruction: Reconstruction = NO_RECONSTRUCTION,
    stages: tuple[StageRow, ...] = (),
    calibration: str = "",
    seed: int | None = None,
) -> Report:
    """``original``: the module given; ``seconds``: the run so far; ``pictures``: how many calibrated it."""
    rows = tuple(_row(simulation, site) for site in simulation.sites())
    nominal, effective = cost_of(simulation)
    return Report(
        recipe=simulation.recipe.name,
        size_mb=quantized_bytes(simulation) / MEGABYTE,
        fp32_size_mb=float_bytes(original) / MEGABYTE,
        avg_weight_bits=nominal.avg_weight_bits,
        avg_act_bits=nominal.avg_act_bits,
        effective_act_bits=effective.avg_act_bits,
        gbops=effective.gbops,
        seconds=seconds,
        pictures=pictures,
        preprocessing=_preprocessing(source),
        kept_float=_kept_float(simulation),
        kept_8bit=_kept_8bit(simulation, rows),
        sites=rows,
        units=reconstruction.units,
        cancelled=reconstruction.cancelled,
        stages=stages,
        calibration=calibration,
        seed=seed,
    )


def _row(simulation: Simulation, site: Site) -> SiteRow:
    quantizer, layer = simulation.quantizer(site), simulation.layers.get(site.module)
    return SiteRow(
        layer=site.module,
        tensor=site.tensor,
        role=site.role,
        quantizer=simulation.recipe.use_for(site).quantizer,
        bits=quantizer.bits,
        effective_bits=quantizer.effective_bits,
        outlier_ratio=getattr(quantizer, "outlier_ratio", 0.0),
        sqnr_db=quantizer.sqnr_db,
        params=layer.params if site.tensor == WEIGHT else 0,
        macs=layer.macs if layer else 0,
    )


def _preprocessing(source: Model | None) -> str:
    return "not known: pictures came as tensors" if source is None else source.preprocessing.describe()


def _kept_float(simulation: Simulation) -> tuple[str, ...]:
    others = [
        name
        for name, module in simulation.module.named_modules()
        if isinstance(module, MATRICES) and name not in simulation.layers
    ]
    kept = [str(site) for site in simulation.sites() if isinstance(simulation.quantizer(site), Kept)]
    return (_always_float(simulation), *others, *kept)


def _always_float(simulation: Simulation) -> str:
    """Of recipes that quantize between layers, what is left there."""
    if not simulation.between:
        return ALWAYS_FLOAT
    integer = "post_softmax", "stream"
    used = {site.role: simulation.quantizer(site) for site in simulation.sites() if site.role in integer}
    named = [
        ("softmax", isinstance(used.get("post_softmax"), LogSqrt2)),
        ("LayerNorm", isinstance(used.get("stream"), PowerOfTwo)),
    ]
    return ", ".join([*(name for name, whole in named if not whole), "activation functions", "biases"])


def _kept_8bit(simulation: Simulation, rows: tuple[SiteRow, ...]) -> tuple[str, ...]:
    """Sites at 8 bits although the recipe's own bits are lower."""
    recipe = simulation.recipe
    named = [(row, recipe.weight_bits if row.tensor == WEIGHT else recipe.act_bits) for row in rows]
    return tuple(f"{row.layer}:{row.tensor}" for row, bits in named if row.bits == 8 and bits < 8)
