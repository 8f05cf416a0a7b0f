"""Quantize a model: rewrite a copy of it, attach the recipe's quantizers, run the recipe's passes, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .allocation.passes import allocate_by_budget, allocate_by_paper, check_given_table
from .calibration import CalibrationPictures, calibrate
from .checks import check_function, check_whole
from .errors import VitqError
from .families import Family, family_of
from .models.unwrap import check_finite, module_of, private_copy, standalone
from .monitor import Monitor, Progress
from .recipe import Recipe
from .recipe import recipe as named_recipe
from .reconstruction import RunState, Watch, check_enough, fingerprint, ready_folder, reconstruct
from .reparameterize import to_clipped_scales, to_layer_scale
from .report import NO_RECONSTRUCTION, Report, build_report
from .rotation import rotate_heads
from .simulation import Simulation
from .site import Layer, NormPair, Site
from .tracing import trace_layers

if TYPE_CHECKING:
    from .models import Model

# The first passes: name → function(rewritten module, family), in place; what the model answers must stay.
CHANGES: dict[str, Callable[[nn.Module, Family], None]] = {"rotate_heads": rotate_heads}
# Then those that fill in the recipe's bits: name → function(module, recipe, pictures, monitor) → the recipe
# with a complete table.
ALLOCATIONS: dict[str, Callable[[nn.Module, Recipe, CalibrationPictures, Monitor], Recipe]] = {
    "allocate_paper": allocate_by_paper,
    "allocate_budget": allocate_by_budget,
}
# Those after it: name → function(simulation, calibration rows per site, monitor).
PASSES: dict[str, Callable[[Simulation, dict[Site, Tensor], Monitor], None]] = {
    "reparameterize_mean": to_layer_scale,
    "reparameterize_clip": to_clipped_scales,
}


@dataclass(frozen=True)
class QuantizeResult:
    """``model``: same call as the original. ``bits``: {layer: (weight bits or None, activation bits)}."""

    model: nn.Module
    bits: dict[str, tuple[int | None, int]]
    report: Report
    recipe: Recipe
    source: Model | None = None  # what was quantized, where it came as a Model: labels and preprocessing

    def __call__(self, images: Tensor) -> Tensor:
        """The quantized model's output, [N, classes]."""
        return self.model(images)


def quantize(
    model: Model | nn.Module,
    images: Tensor | Iterable,
    recipe: Recipe | str,
    progress: Progress | None = None,
    cancel: object = None,
    seed: int = 0,
    *,
    state: str | Path | None = None,
    watch: Watch | None = None,
) -> QuantizeResult:
    """Quantize ``model`` after training, calibrated on ``images`` [N, C, H, W] or an iterable of batches.

    The model given is left untouched, whatever happens. ``progress(fraction, message)`` hears how far it is;
    ``cancel`` (a callable, or an object with ``is_set``) stops it: with :class:`Cancelled` until it is
    calibrated, while it is reconstructed with the units done so far (``report.cancelled``). ``seed``: all
    randomness. ``state``: the folder that keeps finished units (by default one in ``VITQ_HOME``, deleted at
    the end); the same call goes on from there, also after a kill. ``watch`` hears
    :class:`UnitProgress`: loss curves and errors. Raises ValueError for unusable pictures or bits of unknown
    layers, VitqError for a model of no known family, a state of another run or one that cannot be written.
    """
    started = time.perf_counter()
    source, module = _unwrap(model)
    recipe = asked = named_recipe(recipe) if isinstance(recipe, str) else recipe
    if not isinstance(recipe, Recipe):
        raise ValueError(f"recipe must be a recipe's name or vq.recipe(...), got {type(recipe).__name__}")
    check_whole("seed", seed)
    check_function("watch", watch)
    family = family_of(module)
    monitor = Monitor(progress, cancel)
    monitor.report(0.0, "preparing")
    with (
        torch.inference_mode(False),  # tensors made in it cannot be learned from
        torch.random.fork_rng(devices=[]),
        CalibrationPictures(images, family.input_size(module), _device(module)) as pictures,
    ):
        torch.manual_seed(seed)
        _check_reconstruction(recipe, pictures, state)
        changed = _changed(module, family, recipe)
        recipe, monitor = _allocated(changed, recipe, pictures, monitor)
        simulation = _prepare(changed, recipe, pictures.first)
        simulation.attach()
        reconstructing = recipe.options.schedule is not None
        _run_passes(simulation, pictures, monitor.part(0.0, 0.1) if reconstructing else monitor)
        units = NO_RECONSTRUCTION
        if reconstructing:
            begun = (module, asked.to_json(), pictures, seed)
            with RunState(state, fingerprint(*begun, simulation.module, recipe.to_json())) as kept:
                units = reconstruct(simulation, pictures, monitor.part(0.1, 1.0), seed, kept, watch)
    simulation.module.eval().vitq = simulation  # the quantizers too are made in training mode
    report = build_report(simulation, module, time.perf_counter() - started, pictures.count, source, units)
    if not units.cancelled:
        monitor.report(1.0, "done")
    return QuantizeResult(simulation.module, layer_bits(simulation), report, recipe, source)


def _check_reconstruction(recipe: Recipe, pictures: CalibrationPictures, state: object) -> None:
    """What would otherwise be noticed only after calibration."""
    schedule = recipe.options.schedule
    if schedule is None and state is not None:
        raise ValueError("state keeps what reconstruction learns, and this recipe's effort is 'none'")
    check_enough(pictures.count, schedule)
    ready_folder(state)


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _unwrap(model: Model | nn.Module) -> tuple[Model | None, nn.Module]:
    module = module_of(model, "quantize")
    if hasattr(module, "vitq"):
        raise ValueError("this model is quantized already; quantize the full-precision one")
    check_finite(module)
    return None if model is module else model, module


def _changed(module: nn.Module, family: Family, recipe: Recipe) -> nn.Module:
    """The module as the recipe's first passes leave it: a copy where there are any."""
    steps = [step for step in recipe.passes if step in CHANGES]
    if steps:
        module = private_copy(module)
        family.rewrite(module)
    for step in steps:
        CHANGES[step](module, family)
    return module


def _prepare(module: nn.Module, recipe: Recipe, picture: Tensor) -> Simulation:
    module = standalone(module).requires_grad_(False)
    family = family_of(module)
    family.rewrite(module)
    layers = trace_layers(module, family, picture)
    unknown = sorted(set(recipe.bits) - set(layers))
    if unknown:
        raise ValueError(
            f"bits name a layer that the model does not have: {unknown[0]!r}; it has {_few(layers)}"
        )
    _check_shared_bits(recipe, family.pairs(module), layers)
    return Simulation(module, family, recipe, layers, tuple(picture.shape[1:]))


def _check_shared_bits(recipe: Recipe, pairs: list[NormPair], layers: dict[str, Layer]) -> None:
    """Layers behind one norm are rescaled together, so their common input has one width."""
    if not any(step.startswith("reparameterize") for step in recipe.passes):
        return
    for pair in pairs:
        sites = [layers[name].inputs[0] for name in pair.linears if name in layers]
        if len({recipe.use_for(site).bits for site in sites}) > 1:
            names = " and ".join(site.module for site in sites)
            raise ValueError(
                f"{names} read the same tensor: recipe {recipe.name!r} needs the same "
                "activation bits for them"
            )


def _few(layers: dict) -> str:
    names = list(layers)
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")


def _allocated(
    module: nn.Module, recipe: Recipe, pictures: CalibrationPictures, monitor: Monitor
) -> tuple[Recipe, Monitor]:
    """The recipe with its bits, and the monitor of what comes after."""
    step = next((step for step in recipe.passes if step in ALLOCATIONS), None)
    if step is None:
        return recipe, monitor
    check_given_table(module, recipe, pictures)
    return ALLOCATIONS[step](module, recipe, pictures, monitor.part(0.0, 0.4)), monitor.part(0.4, 1.0)


def _run_passes(simulation: Simulation, pictures: CalibrationPictures, monitor: Monitor) -> None:
    steps = [step for step in simulation.recipe.passes if step not in {**CHANGES, **ALLOCATIONS}]
    first, rest = steps[:1], steps[1:]
    if first != ["calibrate"] or not set(rest) <= set(PASSES):
        raise VitqError(
            f"recipe {simulation.recipe.name!r} must calibrate, then use passes of: {', '.join(PASSES)}"
        )
    tokens = calibrate(simulation, pictures, monitor.part(0.0, 0.8 if rest else 1.0))
    for index, step in enumerate(rest):
        start = 0.8 + 0.2 * index / len(rest)
        PASSES[step](simulation, tokens, monitor.part(start, start + 0.2 / len(rest)))


def layer_bits(simulation: Simulation) -> dict[str, tuple[int | None, int]]:
    """{layer: (weight bits or None, activation bits)}; both inputs of a matmul have the same bits."""
    table = {}
    for name, layer in simulation.layers.items():
        weight = None if layer.weight is None else simulation.quantizer(layer.weight).bits
        table[name] = (weight, simulation.quantizer(layer.inputs[0]).bits)
    return table
