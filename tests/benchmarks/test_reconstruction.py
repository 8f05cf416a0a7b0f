"""What reconstruction costs: one iteration against a training step of the module, the quick effort, memory.

`make benchmarks` prints them. Machines are shared and noisy: the median of interleaved pairs counts.
"""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import pairwise
from math import log
from statistics import mean, median

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import vitq_core as vq
from vitq_core.data.store import ActivationStore, Scratch
from vitq_core.graph.site import Unit
from vitq_core.passes.reconstruct import units_of
from vitq_core.reconstruction.optimize import learn
from vitq_core.reconstruction.unit_inputs import UnitInputs

from .cells import source_of, stacked
from .test_speed import spread

BATCH = 32
ITERATIONS = 20
ROUNDS = 3


def deit_small() -> tuple[nn.Module, int]:
    torch.manual_seed(0)
    return VisionTransformer(embed_dim=384, depth=2, num_heads=6, num_classes=10).eval(), 224


def demo_vit() -> tuple[nn.Module, int]:
    return vq.load_model("demo-vit").module, 64


@pytest.mark.parametrize("make", [deit_small, demo_vit])
@pytest.mark.parametrize("recipe", ["repq", "adfq", "vitq"])
def test_an_iteration_costs_at_most_1_6_training_steps(make, recipe):
    module, size = make()
    pictures = torch.randn(BATCH, 3, size, size, generator=torch.Generator().manual_seed(1))
    simulation = vq.quantize(module, pictures, vq.recipe(recipe, 4, 4, effort="none")).model.vitq
    schedule = vq.recipe(recipe, 4, 4, effort="standard", iterations=ITERATIONS).options.schedule
    medians = []
    for unit, data, fp_model in gathered(simulation, pictures, schedule):
        ratios = [ratio(simulation, unit, data, fp_model, schedule) for _ in range(ROUNDS)]
        print(f"\n{recipe}, {unit.name} of {make.__name__}: {median(ratios):.2f} {spread(ratios)}")
        medians.append(median(ratios))
    assert max(medians) <= 1.6


def gathered(simulation, pictures, schedule):
    """The units of the second block, each with what it learns from and its float fp_model."""
    fp_model = simulation.fp_model()
    units = [unit for unit in units_of(simulation, schedule) if Unit("blocks.1").holds(unit.name)]
    with Scratch() as scratch:
        rows = ActivationStore(scratch, len(pictures))
        rows.append(pictures)
        chain = simulation.family.blocks(simulation.module)
        temperature = schedule.kl_lambda and schedule.temperature
        for unit, gather in UnitInputs(simulation.module, fp_model, units, chain, rows, temperature):
            yield unit, gather(), fp_model.get_submodule(unit.name)


def ratio(simulation, unit, data, fp_model, schedule) -> float:
    before = training_step(fp_model, data)
    times = [time.perf_counter()]
    learn(simulation, unit, data, schedule, 0, lambda *_: times.append(time.perf_counter()))
    iterations = [after - before for before, after in pairwise(times)]
    return 2 * median(iterations[1:]) / (before + training_step(fp_model, data))


def training_step(module: nn.Module, data) -> float:
    """Seconds of one forward and backward in full precision, gradients of weights and input."""
    module.requires_grad_(True)
    x = data.fp_input[torch.arange(BATCH)].requires_grad_()
    times = []
    for _ in range(ITERATIONS):
        start = time.perf_counter()
        (module(x) - data.target[torch.arange(BATCH)]).square().sum().backward()
        times.append(time.perf_counter() - start)
    return median(times[1:])


@pytest.mark.parametrize("recipe", ["adfq", "vitq"])
def test_the_quick_effort_takes_under_a_minute_on_the_bundled_model(recipe):
    images = torch.randn(128, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    start = time.perf_counter()
    vq.quantize(vq.load_model("demo-vit"), images, vq.recipe(recipe, 4, 4, effort="quick"))
    took = time.perf_counter() - start
    print(f"\n{recipe} W4/A4 with effort quick on demo-vit, 128 pictures: {took:.0f} s")
    assert took < 60


def test_bfloat16_ends_as_well_and_its_time_is_told():
    """In the units' errors, by the mean of their logarithms; processor time, which others disturb less."""
    model = vq.load_model("demo-vit")
    images = stacked(model, source_of(model, None).calibration(64, 0))
    errors, seconds = {}, {}
    for autocast in (True, False):
        recipe = vq.recipe("repq", effort="quick", iterations=12, batch_size=32, autocast=autocast)
        start = time.process_time()
        rows = vq.quantize(model, images, recipe).report.units
        seconds[autocast] = time.process_time() - start
        errors[autocast] = mean(log(row.error_after / row.error_before) for row in rows)
    print(f"\nbfloat16 takes {seconds[True] / seconds[False]:.2f} times the processor time of float32")
    print(f"mean log ratio of errors: {errors[True]:.3f} with it, {errors[False]:.3f} without")
    assert errors[True] < errors[False] + 0.01


PEAK = """
import sys, torch, vitq_core as vq
from tests.benchmarks.test_memory import peak_bytes
pictures = int(sys.argv[1])
recipe = vq.recipe("adfq", 4, 4, effort="standard", iterations=2, pictures=pictures)
vq.quantize(vq.load_model("demo-vit"), torch.randn(pictures, 3, 64, 64), recipe)
print(peak_bytes() / 2**20)
"""


def test_memory_holds_a_unit_and_its_neighbours():
    peaks = {n: float(subprocess.check_output([sys.executable, "-c", PEAK, str(n)])) for n in (64, 512, 1024)}
    one = 1024 * 65 * 192 * 4 / 2**20
    print(f"\npeak memory of reconstructing demo-vit with 64, 512, 1,024 pictures: {list(peaks.values())} MB")
    print(f"(the activations between two blocks are {one:.0f} MB for 1,024 pictures)")
    # Two streams in and out, the unit's inputs and output, its attention maps.
    assert peaks[1024] - peaks[64] < 12 * one
