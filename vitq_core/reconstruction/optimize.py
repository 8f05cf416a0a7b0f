"""One unit: rounding and activation scales learned until it gives what it gave in full precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import cos, isfinite, pi

import torch
from torch import Tensor, nn

from ..common.hooks import hooked
from ..graph.site import Unit
from ..quantized.simulation import Simulation
from ..quantizers import Quantizer
from ..recipes.schedule import Schedule
from .losses import attention_loss, output_error, output_loss
from .rounding import Rounding
from .unit_inputs import CHUNK, UnitData

SMALLEST_SCALE = 1e-8

Step = Callable[[int, float], None]  # (iteration, loss), after each


class Diverged(Exception):
    """The loss is no finite number."""


def learn(
    simulation: Simulation, unit: Unit, data: UnitData, schedule: Schedule, seed: int, after_step: Step
) -> None:
    """Train the unit in place and round it. Raises Diverged, and whatever ``after_step`` raises.

    The whole model's weights are rounded already and keep their codes. After an exception the unit is half
    trained: the caller has its calibrated state.
    """
    layers = [layer for layer in simulation.layers.values() if unit.holds(layer.name)]
    weighted = [layer.name for layer in layers if layer.weight is not None]
    roundings = {
        name: Rounding(
            simulation.simulated_weight(name), simulation.float_weight(name), schedule.weight_scales
        )
        for name in weighted
    }
    quantizers = [simulation.quantizer(site) for layer in layers for site in layer.inputs]
    module = simulation.layer(unit.name)
    with learning_scales(quantizers) as scales, learning_affine(module, schedule) as affine:
        learned = Learned(list(roundings.values()), scales, affine, rounded=unit.name == "")
        _descend(module, unit, data, schedule, learned, seed, after_step)
    for name, rounding in roundings.items():
        rounding.settle(simulation.float_weight(name))


@dataclass
class Learned:
    """All that a unit learns; ``rounded``: its rounding is settled and no longer learned."""

    roundings: list[Rounding]
    scales: list[Tensor]
    affine: list[Tensor]
    rounded: bool = False

    def optimizer(self, schedule: Schedule) -> torch.optim.Optimizer:
        """Adam: for v at a constant step, for all else at one that falls to 0 as a cosine from "start"."""
        rounding_lr, scale_lr = schedule.steps
        rounding = [] if self.rounded else [r.v for r in self.roundings]
        scales = self.scales + [r.scale for r in self.roundings if r.scale.requires_grad]
        falling = [([scale], _bounded(scale_lr, scale, schedule)) for scale in scales]
        falling.append((self.affine, schedule.affine_lr))
        groups = [{"params": tensors, "lr": lr, "start": lr} for tensors, lr in falling if tensors]
        groups += [{"params": rounding, "lr": rounding_lr}] if rounding else []
        return torch.optim.Adam(groups, fused=True)


def _bounded(step: float, scale: Tensor, schedule: Schedule) -> float:
    """At 8 bits a scale is a sixteenth of what it is at 4: steps that suit 4 bits would undo it."""
    if schedule.scale_travel is None:
        return step
    return min(step, schedule.scale_travel * float(scale.detach().median()) / schedule.iterations)


@contextmanager
def learning_scales(quantizers: list[Quantizer]) -> Iterator[list[Tensor]]:
    """What they say is to be learned, as leaves that take gradients."""
    learned = [(quantizer, name) for quantizer in quantizers for name in quantizer.learned_parameters()]
    for quantizer, name in learned:
        setattr(quantizer, name, getattr(quantizer, name).detach().clone().requires_grad_())
    try:
        yield [getattr(quantizer, name) for quantizer, name in learned]
    finally:
        for quantizer, name in learned:
            setattr(quantizer, name, getattr(quantizer, name).detach())


@contextmanager
def learning_affine(module: nn.Module, schedule: Schedule) -> Iterator[list[Tensor]]:
    """The parameters that are no quantized weights (biases, norms, layer scales), where they are learned."""
    named = module.named_parameters() if schedule.affine_lr is not None else ()
    parameters = [parameter for name, parameter in named if "parametrizations." not in name]
    for parameter in parameters:
        parameter.requires_grad_()
    try:
        yield parameters
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None


def _descend(
    module: nn.Module,
    unit: Unit,
    data: UnitData,
    schedule: Schedule,
    learned: Learned,
    seed: int,
    after_step: Step,
) -> None:
    optimizer = learned.optimizer(schedule)
    batches = _Batches(data, schedule, seed, next(module.parameters()).device)
    for iteration in range(schedule.iterations):
        for rounding in learned.roundings:
            rounding.show()
        loss = _loss(module, unit, data, schedule, *next(batches))
        loss.backward()
        value = loss.item()
        if not isfinite(value):
            raise Diverged(iteration)
        for rounding in learned.roundings:
            rounding.collect(*_pull(schedule, iteration))
        _step(optimizer, iteration / schedule.iterations)
        with torch.no_grad():
            for scale in learned.scales:
                scale.clamp_(min=SMALLEST_SCALE)
        after_step(iteration, value)


def _step(optimizer: torch.optim.Optimizer, done: float) -> None:
    for group in optimizer.param_groups:
        if "start" in group:
            group["lr"] = group["start"] * (1 + cos(pi * done)) / 2
    optimizer.step()
    optimizer.zero_grad()


def _pull(schedule: Schedule, iteration: int) -> tuple[float, float]:
    """(w, β) of the rounding term at this iteration; w is 0 during the warm-up."""
    done = iteration / schedule.iterations
    if done < schedule.warmup:
        return 0.0, schedule.beta_start
    left = 1 - (done - schedule.warmup) / max(1 - schedule.warmup, 1e-9)
    return schedule.rounding_weight, schedule.beta_end + (schedule.beta_start - schedule.beta_end) * left


class _Batches:
    """Endless (input, index): rows drawn without repetition until all were seen, inputs mixed by QDrop."""

    def __init__(self, data: UnitData, schedule: Schedule, seed: int, device: torch.device) -> None:
        self._data, self._size, self._device = data, schedule.batch_size, device
        self._share = round(256 * schedule.drop)
        self._shuffler = torch.Generator().manual_seed(seed)
        self._mixer = torch.Generator(device).manual_seed(seed)
        self._left = torch.empty(0, dtype=torch.long)

    def __next__(self) -> tuple[Tensor, Tensor]:
        if len(self._left) < self._size:
            self._left = torch.randperm(self._data.trained, generator=self._shuffler)
        index, self._left = self._left[: self._size], self._left[self._size :]
        if self._share in (0, 256):
            rows = self._data.fp_input if self._share else self._data.quant_input
            return rows[index].to(self._device), index
        quant_input, fp_input = (
            rows[index].to(self._device) for rows in (self._data.quant_input, self._data.fp_input)
        )
        return self._mixed(quant_input, fp_input), index

    def _mixed(self, quant_input: Tensor, fp_input: Tensor) -> Tensor:
        """Each element from ``fp_input`` with probability ``drop``, by one random byte."""
        words = torch.empty(-(-quant_input.numel() // 8), dtype=torch.long, device=self._device)
        random = words.random_(-(2**63), None, generator=self._mixer).view(torch.uint8)
        # As floats: comparing bytes, and making floats of truths, takes no vector instructions.
        dropped = random[: quant_input.numel()].view_as(quant_input).to(quant_input.dtype).lt_(self._share)
        return quant_input.lerp_(fp_input, dropped)


def _loss(
    module: nn.Module, unit: Unit, data: UnitData, schedule: Schedule, x: Tensor, index: Tensor
) -> Tensor:
    maps: list[Tensor] = []
    names = unit.softmaxes if schedule.kl_lambda is not None else ()
    softmaxes = [module.get_submodule(name.removeprefix(f"{unit.name}.")) for name in names]
    precision = torch.autocast(x.device.type, torch.bfloat16, enabled=uses_bfloat16(schedule, x))
    with hooked(*((softmax, lambda *call: maps.append(call[2])) for softmax in softmaxes)), precision:
        output = module(x, **data.options)
    loss = output_loss(output.float(), data.target[index].to(x.device), data.weights)
    for actual, expected in zip(maps, data.maps, strict=False):
        divergence = attention_loss(actual.float(), expected[index].to(x.device), schedule.temperature)
        loss = loss + divergence / schedule.kl_lambda
    return loss


def uses_bfloat16(schedule: Schedule, x: Tensor) -> bool:
    """The schedule's choice, or whether the processor multiplies bfloat16 in hardware."""
    if schedule.autocast is not None:
        return schedule.autocast
    if x.is_cuda:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.cpu._is_amx_tile_supported()


def hard_error(module: nn.Module, data: UnitData) -> float:
    """``‖O − Ô‖² / ‖O‖²`` over the pictures measured, as the unit stands, on its quantized input."""
    error, signal, device = 0.0, 0.0, next(module.parameters()).device
    with torch.no_grad():
        for quant_input, target in data.measured(CHUNK):
            output = module(quant_input.to(device), **data.options)
            errors = output_error(output, target.to(device))
            error, signal = error + errors[0], signal + errors[1]
    return error / max(signal, 1e-30)
