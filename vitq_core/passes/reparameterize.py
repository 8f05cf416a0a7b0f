"""LayerNorm reparameterization: move the spread between channels from the activation into the next weights.

RepQ-ViT (arXiv 2212.08254) leaves one scale per layer; CRL (LRP-QViT, arXiv 2401.11243) clips the scales;
ours does that only where it pays. In floating point the block computes what it computed before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.options import check_given, number_from, option, switch
from ..graph.rescaling import rescale_linear, rescale_norm
from ..graph.site import NormPair, Site
from ..quantized.samples import Rows
from ..quantized.simulation import Simulation
from ..quantizers import Uniform
from ..recipes.steps import CALIBRATED, RESCALED, add_pass
from .base import Run

CLIP_CANDIDATES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)  # 0 is RepQ-ViT's mean, so CRL is never below it
LEAST_GAIN = 0.25  # of the error of a layer's output: less comes and goes with the weights' rounding
PROBES = (0.0, 1.0)  # where neither gains half as much, no other candidate will
CLIP_CHOICES = {f"{k:g}": k for k in CLIP_CANDIDATES}


def _check_shared_bits(run: Run) -> None:
    """Layers behind one norm are rescaled together, so their common input has one width."""
    for names in run.prepared.shared:
        if not _one_width(run, names):
            raise ValueError(
                f"{' and '.join(names)} read the same tensor: recipe {run.recipe.name!r} needs the same "
                "activation bits for them"
            )


def _one_width(run: Run, names: Iterable[str]) -> bool:
    """Whether what these layers read has as many bits in each."""
    return len({run.recipe.use_for(run.prepared.layers[name].inputs[0]).bits for name in names}) == 1


TRAITS = {"needs": (CALIBRATED,), "gives": (RESCALED,), "weight": 2.0, "keeps_rows": True}


@dataclass(frozen=True)
class ClipOptions:
    """Of CRL."""

    clip_k: float | None = option(  # None: the best of CLIP_CANDIDATES, site by site
        None, "Clip scales at k deviations", number_from(0.0), choices=CLIP_CHOICES, short="clip",
        hint="Automatic: what is best for each layer.",
    )  # fmt: skip
    collapse: bool = option(  # instead of one a channel
        False, "One scale per layer", switch, short="one scale per layer", hint="In place of one per channel."
    )

    def __post_init__(self) -> None:
        check_given(self)

    @property
    def candidates(self) -> tuple[float, ...]:
        """The k to try."""
        return CLIP_CANDIDATES if self.clip_k is None else (self.clip_k,)


@add_pass("reparameterize_mean", check=_check_shared_bits, **TRAITS)
def to_layer_scale(run: Run) -> None:
    """RepQ-ViT: ``s̃ = mean(s)``, ``z̃ = mean(z)`` over the channels of every pair."""
    simulation = run.simulation
    for pair, site in _progress(run):
        current = simulation.quantizer(site)
        target = Uniform(current.bits)
        target.set_parameters(current.scale.mean(), current.zero_point.mean())
        _apply(run, pair, target)


@add_pass("reparameterize_clip", Options=ClipOptions, check=_check_shared_bits, **TRAITS)
def to_clipped_scales(run: Run) -> None:
    """CRL: ``s̃ = clip(s, μ ± kσ)``, the same for z; the activation stays quantized per channel.

    k is the recipe's ``clip_k``, or per site the candidate with the least error of the layer's output on the
    calibration pictures. With ``collapse`` the clipped parameters are averaged: one scale per layer.
    """
    simulation, options = run.simulation, run.options(ClipOptions)
    for pair, site in _progress(run):
        targets = [clipped(simulation.quantizer(site), k, options.collapse) for k in options.candidates]
        if len(targets) > 1:
            targets.sort(key=lambda target: _output_error(simulation, site, target, run.rows[site]))
        _apply(run, pair, targets[0])


@add_pass("reparameterize_judged", **TRAITS)
def to_scales_that_help(run: Run) -> None:
    """CRL's best candidate where it takes `LEAST_GAIN` off the error of the layer's output; other norms, and
    those whose readers want different bits, stay as they are.

    A weight that divides by what its channel is multiplied with is small where the input is large, and loses
    most on the grid of its row.
    """
    simulation = run.simulation
    for pair, site in _progress(run):
        if not _one_width(run, pair.linears):
            continue
        current = simulation.quantizer(site)
        as_it_is = _output_error(simulation, site, current, run.rows[site])
        errors: dict[float, float] = {}
        for candidates, gain in ((PROBES, LEAST_GAIN / 2), (CLIP_CANDIDATES, LEAST_GAIN)):
            for k in sorted(set(candidates) - errors.keys()):
                target = clipped(current, k, collapse=False)
                errors[k] = _output_error(simulation, site, target, run.rows[site])
            best = min(errors, key=errors.__getitem__)
            if errors[best] >= (1 - gain) * as_it_is:
                break
        else:
            _apply(run, pair, clipped(current, best, collapse=False))


def _progress(run: Run) -> Iterator[tuple[NormPair, Site]]:
    """The pairs whose site is quantized per channel, with that site."""
    pairs = run.prepared.family.pairs(run.prepared.module)
    for index, pair in enumerate(pairs):
        run.monitor.report(
            index / len(pairs), f"Moving scales into weights ({index + 1} of {len(pairs)} norms)"
        )
        if pair.linears[0] not in run.prepared.layers:
            continue
        site = run.prepared.layers[pair.linears[0]].inputs[0]
        if site in run.rows:
            yield pair, site


def clipped(current: Uniform, k: float, collapse: bool) -> Uniform:
    """The parameters of a quantizer of channels, clipped at k deviations from their mean."""
    scale, zero_point = (_clip(values, k) for values in (current.scale, current.zero_point))
    target = Uniform(current.bits, axis=None if collapse else -1)
    target.set_parameters(*(values.mean() if collapse else values for values in (scale, zero_point)))
    return target


def _clip(values: Tensor, k: float) -> Tensor:
    mean, deviation = values.mean(), values.std(correction=0)
    return values.clamp(mean - k * deviation, mean + k * deviation)


def rescaling(current: Uniform, target: Uniform) -> tuple[Tensor, Tensor]:
    """Per channel [D]: divisor ``r1 = s/s̃`` and shift ``s ⊙ (z − z̃)`` of the LayerNorm's output."""
    scale, zero_point = current.scale.flatten(), current.zero_point.flatten()
    return scale / target.scale.flatten(), scale * (zero_point - target.zero_point.flatten())


def _output_error(simulation: Simulation, site: Site, target: Uniform, tokens: Rows) -> float:
    """Mean squared error of the layer's output on ``tokens`` [rows, D] if ``target`` were its quantizer."""
    current = simulation.quantizer(site)
    divisor, shift = rescaling(current, target)
    weight = simulation.float_weight(site.module).detach()
    rescaled, moved = weight * divisor, tokens.rescaled(divisor, shift)
    quantizer = deepcopy(simulation.simulated_weight(site.module).quantizer)
    simulated = quantizer.fit(rescaled, moved.judge_single_weights(rescaled))(rescaled)
    wide = moved.values.view(*[1] * (current.scale.ndim - 2), *moved.values.shape)  # as its parameters
    inputs = target(wide).view_as(moved.values)
    errors = (inputs @ simulated.T - (tokens.values + shift) @ weight.T).square().mean(dim=1)
    return float((errors * tokens.counts).sum() / tokens.counts.sum())


def _apply(run: Run, pair: NormPair, target: Uniform) -> None:
    """Rescale the norm and every layer that reads it, refit their weights, and quantize with ``target``."""
    simulation = run.simulation
    first = simulation.layers[pair.linears[0]].inputs[0]
    current = simulation.quantizer(first)
    divisor, shift = rescaling(current, target)
    target.sqnr_db = current.sqnr_db
    moved = run.rows[first].rescaled(divisor, shift)
    with torch.no_grad():
        rescale_norm(simulation.layer(pair.norm), divisor, shift)
        for name in pair.linears:
            rescale_linear(simulation.layer(name), simulation.float_weight(name), divisor, shift)
            _refit_weight(simulation, name, moved)
            simulation.replace_input_quantizer(simulation.layers[name].inputs[0], deepcopy(target))


def _refit_weight(simulation: Simulation, name: str, tokens: Rows) -> None:
    """``tokens``: what the rescaled layer reads."""
    judged = simulation.simulated_weight(name).quantizer.judged
    simulation.fit_weight(name, tokens.judge_weight(simulation.float_weight(name)) if judged else None)
