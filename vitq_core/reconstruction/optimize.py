"""One unit: rounding and activation scales learned until it gives what it gave in full precision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import cos, inf, isfinite, nan, pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from ..common.batch import Batch
from ..common.errors import NotFinite
from ..common.hooks import hooked
from ..graph.site import Layer, Unit
from ..quantized.between import norm_targets
from ..quantized.simulation import Simulation
from ..quantizers import Quantizer
from ..recipes.schedule import Schedule
from .losses import attention_loss, output_error, output_loss
from .rounding import Rounding
from .unit_inputs import CHUNK, UnitData

SMALLEST_SCALE = 1e-8
HELD, PER_OUTPUT = 2 * 2**30, 20  # bytes: of all activations, and for each number that a layer gives

Step = Callable[[int, float], None]  # (iteration, loss), after each


class Diverged(Exception):
    """The loss is no finite number."""


def learn(
    simulation: Simulation, unit: Unit, data: UnitData, schedule: Schedule, seed: int, after_step: Step
) -> None:
    """Train the unit in place and round it. Raises Diverged, and whatever ``after_step`` raises.

    The whole model's weights keep the codes that they have. After an exception the unit is half trained: the
    caller has its calibrated state.
    """
    layers, rounded = [layer for layer in simulation.layers.values() if unit.holds(layer.name)], not unit.name
    weighted = [layer.name for layer in layers if layer.weight is not None]
    roundings = {name: _rounding(simulation, name, rounded, schedule) for name in weighted}
    quantizers = _learnable(simulation, unit, layers)
    module = simulation.layer(unit.name)
    with learning_scales(quantizers) as scales, learning_affine(module, schedule) as affine:
        learned = Learned(list(roundings.values()), scales, affine, rounded)
        _descend(module, unit, data, schedule, learned, pieces(layers), seed, after_step)
    for name, rounding in roundings.items():
        rounding.settle(simulation.float_weight(name))


def _rounding(simulation: Simulation, name: str, rounded: bool, schedule: Schedule) -> Rounding:
    """``rounded``: from the codes on, for a weight that no unit has learned lies between them."""
    parametrization = simulation.simulated_weight(name)
    weight = simulation.layer(name).weight if rounded else simulation.float_weight(name)
    return Rounding(parametrization, weight, schedule.weight_scales)


def _learnable(simulation: Simulation, unit: Unit, layers: list[Layer]) -> list[Quantizer]:
    """Those of the layers' inputs, without those whose scale a norm outside the unit computes with: that
    norm would give another input than the one that the unit was learned on."""
    fixed = [quantizer for norm, quantizer in norm_targets(simulation.module) if not unit.holds(norm)]
    found = [simulation.quantizer(site) for layer in layers for site in layer.inputs]
    return [quantizer for quantizer in found if not any(quantizer is other for other in fixed)]


def pieces(layers: list[Layer]) -> int:
    """How many pictures' activations of these layers are held for the gradients at a time."""
    return max(1, int(HELD / (PER_OUTPUT * max(sum(layer.outputs for layer in layers), 1))))


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
    piece: int,
    seed: int,
    after_step: Step,
) -> None:
    optimizer = learned.optimizer(schedule)
    batches = _Batches(data, schedule, seed, piece, next(module.parameters()).device)
    for iteration in range(schedule.iterations):
        for rounding in learned.roundings:
            rounding.show()
        value = _pulled_back(module, unit, data, schedule, next(batches))
        if not isfinite(value):
            raise Diverged(iteration)
        for rounding in learned.roundings:
            rounding.collect(*_pull(schedule, iteration))
        _step(optimizer, iteration / schedule.iterations)
        with torch.no_grad():
            for scale in learned.scales:
                scale.clamp_(min=SMALLEST_SCALE)
        after_step(iteration, value)


def _pulled_back(
    module: nn.Module, unit: Unit, data: UnitData, schedule: Schedule, batch: Iterable[tuple[Any, Tensor]]
) -> float:
    """The batch's loss, a mean over its pictures; its gradients, gathered piece by piece."""
    value = 0.0
    for x, index in batch:
        try:
            loss = _loss(module, unit, data, schedule, x, index) * (len(index) / schedule.batch_size)
        except NotFinite:
            return nan
        loss.backward()
        value += loss.item()
    return value


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
    """Endless batches, each as pieces (input, index): rows drawn without repetition until all were seen,
    inputs mixed by QDrop."""

    def __init__(
        self, data: UnitData, schedule: Schedule, seed: int, piece: int, device: torch.device
    ) -> None:
        self._data, self._size, self._piece, self._device = data, schedule.batch_size, piece, device
        self._share = round(256 * schedule.drop)
        self._shuffler = torch.Generator().manual_seed(seed)
        self._mixer = torch.Generator(device).manual_seed(seed)
        self._left = torch.empty(0, dtype=torch.long)

    def __next__(self) -> Iterator[tuple[Any, Tensor]]:
        if len(self._left) < self._size:
            self._left = torch.randperm(self._data.trained, generator=self._shuffler)
        index, self._left = self._left[: self._size], self._left[self._size :]
        return self._pieces(index)

    def _pieces(self, index: Tensor) -> Iterator[tuple[Any, Tensor]]:
        for together in index.split(min(self._size, self._data.together)):
            inputs = self._inputs(together)
            for start in range(0, len(together), self._piece):
                rows = slice(start, start + self._piece)
                yield cut(inputs, rows) if len(together) > self._piece else inputs, together[rows]

    def _inputs(self, index: Tensor) -> Any:
        if self._share in (0, 256):
            return (self._data.fp_input if self._share else self._data.quant_input)[index]
        return tree_map(self._mixed, self._data.quant_input[index], self._data.fp_input[index])

    def _mixed(self, quant_input: Any, fp_input: Any) -> Any:
        """Each element from ``fp_input`` with probability ``drop``, by one random byte."""
        if not isinstance(quant_input, Tensor):
            return quant_input
        words = torch.empty(-(-quant_input.numel() // 8), dtype=torch.long, device=self._device)
        random = words.random_(-(2**63), None, generator=self._mixer).view(torch.uint8)
        # As floats: comparing bytes, and making floats of truths, takes no vector instructions.
        dropped = random[: quant_input.numel()].view_as(quant_input).to(quant_input.dtype).lt_(self._share)
        return quant_input.lerp_(fp_input, dropped)


def cut(inputs: Any, rows: slice) -> Any:
    """Some rows of a batch, or of a tree of tensors."""
    if isinstance(inputs, Batch):
        return inputs[rows]
    return tree_map(lambda x: x[rows] if isinstance(x, Tensor) else x, inputs)


def _loss(module: nn.Module, unit: Unit, data: UnitData, schedule: Schedule, x: Any, index: Tensor) -> Tensor:
    maps: list[Tensor] = []
    names = unit.softmaxes if schedule.kl_lambda is not None else ()
    softmaxes = [module.get_submodule(name.removeprefix(f"{unit.name}.")) for name in names]
    device = next(module.parameters()).device
    precision = torch.autocast(device.type, torch.bfloat16, enabled=uses_bfloat16(schedule, device))
    with hooked(*((softmax, lambda *call: maps.append(call[2])) for softmax in softmaxes)), precision:
        output = _answered(module, data, x)
    loss = _distance(output, data, index)
    for actual, expected in zip(maps, data.maps, strict=False):
        divergence = attention_loss(actual.float(), expected[index], schedule.temperature)
        loss = loss + divergence / schedule.kl_lambda
    return loss


def _answered(module: nn.Module, data: UnitData, x: Any) -> Any:
    """A unit's output; of a whole model what its task reads off it."""
    if data.task is not None:
        return data.task.run(module, x)
    args, kwargs = x
    return module(*args, **kwargs)


def _distance(output: Any, data: UnitData, index: Tensor) -> Tensor:
    """From the targets of these numbers [n]; of a unit of several outputs the sum of theirs."""
    target, output = data.target[index], _as_floats(output)
    if data.task is not None:
        return data.task.loss(output, target)
    pairs = [*zip(tree_leaves(output), tree_leaves(target), strict=True)]
    return sum(output_loss(o, t, data.weights and data.weights(t)) for o, t in pairs)


def _as_floats(output: Any) -> Any:
    return tree_map(lambda x: x.float() if isinstance(x, Tensor) else x, output)


def uses_bfloat16(schedule: Schedule, device: torch.device) -> bool:
    """The schedule's choice, or whether the processor multiplies bfloat16 in hardware."""
    if schedule.autocast is not None:
        return schedule.autocast
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.cpu._is_amx_tile_supported()


def hard_error(module: nn.Module, data: UnitData) -> float:
    """``‖O − Ô‖² / ‖O‖²`` over the pictures measured, as the unit stands, on its quantized input; elements
    are weighed as in its loss.

    Of a whole model the task's loss, as a share of that of zeros (the same for logits). Infinite where it
    answers with what is no number.
    """
    error, signal = 0.0, 0.0
    with torch.no_grad():
        for index in data.measured(CHUNK):
            try:
                errors = _errors(_answered(module, data, data.quant_input[index]), data, index)
            except NotFinite:
                return inf
            error, signal = error + errors[0], signal + errors[1]
    return error / max(signal, 1e-30)


def _errors(output: Any, data: UnitData, index: Tensor) -> tuple[float, float]:
    """(error, what it is compared with), summed over the pictures of these numbers."""
    target = data.target[index]
    if data.task is not None:
        zeros = {name: torch.zeros_like(part) for name, part in output.items()}
        return tuple(float(data.task.loss(answer, target)) * len(index) for answer in (output, zeros))
    pairs = [*zip(tree_leaves(output), tree_leaves(target), strict=True)]
    found = [output_error(o, t, data.weights and data.weights(t)) for o, t in pairs]
    return sum(error for error, _ in found), sum(signal for _, signal in found)
