"""Quantize a model: prepare one copy of it, follow the recipe's passes, report."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from . import passes  # noqa: F401 - registers them
from .common.checks import check_function, check_whole
from .common.monitor import Monitor, Progress
from .data.calibration_set import CalibrationPictures
from .graph.base import family_of
from .graph.copies import network_of
from .graph.faithful import COMPARED, unsavable
from .graph.parts import left_out
from .graph.prepared import PreparedModel, prepare
from .graph.site import Layer
from .passes.base import Run
from .quantized.report import build_report
from .quantized.result import QuantizeResult, layer_bits
from .recipes.recipe import Recipe
from .recipes.recipe import recipe as named_recipe
from .reconstruction.progress import Watch
from .tasks import task_of

if TYPE_CHECKING:
    from .models import Model


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
    :class:`UnitProgress`: loss curves and errors. Raises ValueError for a recipe whose passes or options do
    not fit each other, unusable pictures or bits of unknown layers, VitqError for a model of no known family,
    a state of another run or one that cannot be written.
    """
    started = time.perf_counter()
    source, module = _unwrap(model)
    recipe = _recipe(recipe)
    plan = recipe.plan()
    check_whole("seed", seed)
    check_function("watch", watch)
    if state is not None and recipe.options.schedule is None:
        raise ValueError("state keeps what reconstruction learns, and this recipe's effort is 'none'")
    family, task = family_of(module), task_of(module, model)
    collate = partial(task.working, size=family.input_size(module))
    monitor = Monitor(progress, cancel)
    monitor.report(0.0, "Preparing")
    with (
        torch.inference_mode(False),  # tensors made in it cannot be learned from
        torch.random.fork_rng(devices=[]),
        CalibrationPictures(images, collate, _device(module), task.chunk) as pictures,
    ):
        torch.manual_seed(seed)
        prepared = prepare(
            model, "quantize", pictures.first(COMPARED), True, heads=recipe.options.heads is not None
        )
        _choose(prepared, recipe)
        if reason := unsavable(prepared.module, prepared.family):
            warnings.warn(f"save_quantized will refuse the result: {reason}", stacklevel=2)
        run = Run(module, recipe, prepared, recipe, pictures, monitor, seed, state, watch)
        for step in plan:
            if step.check is not None:
                step.check(run)
        _check_layers(recipe, prepared.layers)
        run.follow(plan)
        digest = pictures.digest()
    simulation = run.simulation
    simulation.module.eval().vitq = simulation  # the quantizers too are made in training mode
    seconds = time.perf_counter() - started
    report = build_report(
        simulation, module, seconds, pictures.count, source, run.reconstruction, run.stages, digest, seed
    )
    if not run.reconstruction.cancelled:
        monitor.done("Quantized")
    return QuantizeResult(simulation.module, layer_bits(simulation), report, run.recipe, source)


def _choose(prepared: PreparedModel, recipe: Recipe) -> None:
    """Keep the layers of the parts that are to be quantized, in place. Raises ValueError for none of the
    model's."""
    if recipe.options.heads is not None and not prepared.family.head_sites(prepared.module):
        raise ValueError(f"heads={recipe.options.heads} does nothing here: this model has none to choose")
    others = left_out(prepared.family, prepared.module, recipe.options.parts)
    prepared.layers = {name: layer for name, layer in prepared.layers.items() if name not in others}


def _recipe(recipe: object) -> Recipe:
    recipe = named_recipe(recipe) if isinstance(recipe, str) else recipe
    if not isinstance(recipe, Recipe):
        raise ValueError(f"recipe must be a recipe's name or vq.recipe(...), got {type(recipe).__name__}")
    return recipe


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _unwrap(model: Model | nn.Module) -> tuple[Model | None, nn.Module]:
    module = network_of(model, "quantize")
    if hasattr(module, "vitq"):
        raise ValueError("this model is quantized already; quantize the full-precision one")
    return None if isinstance(model, nn.Module) else model, module


def _check_layers(recipe: Recipe, layers: dict[str, Layer]) -> None:
    """Raises ValueError for bits of a layer that the model does not have."""
    unknown = sorted(set(recipe.bits) - set(layers))
    if unknown:
        few = ", ".join(list(layers)[:4]) + (", …" if len(layers) > 4 else "")
        raise ValueError(f"bits name a layer that the model does not have: {unknown[0]!r}; it has {few}")
