"""APQ-ViT's calibration (arXiv 2303.14341): every scale is searched by what it does to its block's output,
where the smallest errors do not count; block after block, with those before already quantized.

No code was published by the authors: a re-implementation from the abstract, summaries and a port.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..common.arithmetic import plain_arithmetic
from ..common.batch import Batch
from ..common.hooks import hooked
from ..data.store import Scratch
from ..graph.prepared import PreparedModel
from ..quantizers.kernels.scaled import factors
from ..recipes.steps import CALIBRATED, FLOAT, add_pass
from .base import Run
from .hessian_search import (
    HALF,
    ROUNDS,
    SCALES_TRIED,
    HessianOptions,
    check_gradient,
    report,
    show_weight,
)
from .search import hessian
from .search.blocks import BlockPiece, BlockSearch, floats
from .search.elimination import eliminated
from .search.gathering import gathered, groups_of_layers
from .search.layer import SearchedLayer, proposed, searched_layer
from .search.losses import LOSSES

LINEAR, OTHERS = (0.7, 1.1), (0.9, 1.2)  # factors of a linear layer's ranges, of products and convolutions
TOGETHER = 2**15  # numbers of a block's output that are worked out at a time, about


@dataclass(frozen=True)
class BlockOptions(HessianOptions):
    """Of the pass."""

    tried: str = SCALES_TRIED


class _Reached(Exception):
    """The block whose inputs are wanted."""


@add_pass(
    "block_search", Options=BlockOptions, gives=(CALIBRATED,), ends=(FLOAT,), weight=8.0, check=check_gradient
)
@plain_arithmetic
def block_search(run: Run) -> None:
    """Fit all quantizers."""
    run.simulation, run.fp_model  # noqa: B018 - attached, and copied, before anything is quantized
    done = 0.0
    for names in groups_of_layers(run.prepared):
        block = next((block for block in run.prepared.blocks if names[0].startswith(f"{block}.")), None)
        steps = _by_layer(run, names) if block is None else _by_block(run, block, names)
        for _ in steps:
            done += HALF
            report(run, done)


def _factors(run: Run, name: str) -> Tensor:
    linear = isinstance(run.simulation.layer(name), nn.Linear)
    return factors(*(LINEAR if linear else OTHERS))


def _by_layer(run: Run, names: list[str]) -> Iterator[None]:
    """Between blocks a layer's own output counts, on what reaches it in full precision."""
    options = run.options(BlockOptions)
    with Scratch() as scratch:
        found = gathered(
            _float(run), names, run.pictures, options.search_pictures, LOSSES[options.gradient], scratch,
            run.monitor.check,
        )  # fmt: skip
        for name in names:
            calls = found.calls(name)
            yield
            layer = searched_layer(run.simulation, run.prepared.layers[name], calls, _factors(run, name))
            if layer.pieces and any(operand.searched for operand in layer.operands):
                hessian.search(
                    layer.left, layer.right, layer.pieces, ROUNDS, layer.right_first, keep=eliminated
                )
                layer.note_noise(calls)
            _settle(run, layer)
            yield


def _settle(run: Run, layer: SearchedLayer) -> None:
    layer.settle()
    if layer.layer.weight is not None:
        show_weight(run.simulation, layer)


def _float(run: Run) -> PreparedModel:
    """The prepared model before anything was quantized."""
    return replace(run.prepared, module=run.fp_model)


def _by_block(run: Run, block: str, names: list[str]) -> Iterator[None]:
    pieces = [*_pieces(run, block, names[-1])]
    search = BlockSearch(run.simulation, block, pieces, ROUNDS, run.options(BlockOptions).tried == "all")
    for name in names:
        calls = search.inputs(name)
        yield
        layer = proposed(run.simulation, run.prepared.layers[name], calls, _factors(run, name))
        search.search(layer)
        layer.note_noise(calls)
        _settle(run, layer)
        yield


def _pieces(run: Run, block: str, last: str) -> Iterator[BlockPiece]:
    """``last``: the block's last layer."""
    options = run.options(BlockOptions)
    left = options.search_pictures
    together = max(2, TOGETHER // run.prepared.layers[last].outputs)
    for chunk in run.pictures:
        for batch in chunk[:left].split(min(together, run.prepared.task.chunk)):
            run.monitor.check()
            targets, gradients = _wanted(run, block, batch, LOSSES[options.gradient])
            args, kwargs = _called(run.prepared.module, block, batch)
            yield BlockPiece(args, kwargs, targets, gradients)
        left -= min(left, len(chunk))
        if not left:
            return


def _wanted(run: Run, block: str, batch: Batch, loss: Callable) -> tuple[list[Tensor], list[Tensor]]:
    """What the block gives in full precision, and the gradients there."""
    kept: list[Tensor] = []

    def keep(part: nn.Module, inputs: tuple, output: Any) -> None:
        kept.extend(floats(output))
        for x in kept:
            if not x.requires_grad:
                x.requires_grad_()

    module, task = run.fp_model, run.prepared.task
    with torch.enable_grad(), hooked((module.get_submodule(block), keep)):
        value = loss(task, batch, task.run(module, batch))
        found = torch.autograd.grad(value, kept, allow_unused=True)
    gradients = [torch.zeros_like(x) if g is None else g for x, g in zip(kept, found, strict=True)]
    return [x.detach() for x in kept], gradients


def _called(module: nn.Module, block: str, batch: Batch) -> tuple[tuple, dict[str, Any]]:
    """What the block is called with, all before it as it is now."""
    seen: list[tuple[tuple, dict]] = []

    def keep(part: nn.Module, args: tuple, kwargs: dict) -> None:
        seen.append((args, kwargs))
        raise _Reached

    try:
        with torch.no_grad(), hooked(before=[(module.get_submodule(block), keep)], with_kwargs=True):
            batch.through(module)
    except _Reached:
        pass
    return seen[0]
