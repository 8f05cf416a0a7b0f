"""Quantizers on the tensors between layers, and the operations that compute with whole numbers where both
sides have them (FQ-ViT, arXiv 2111.13824)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..graph.site import INPUT, OUTPUT, SECOND, Between, Site
from ..quantizers import LogSqrt2, PowerOfTwo, Quantizer
from ..quantizers.log_sqrt2 import UNIT
from .integer_norm import Grids, compute_with_integers
from .integer_softmax import LogIntSoftmax, ScoreGrid
from .recording import refuse_recording

NAME, GRIDS, GRID = "between_quantizers", "grids", "grid"
Find = Callable[[Site], Quantizer]


def quantize_given(part: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Forward pre-hook: those inputs that have a quantizer through it, once that is fitted."""
    refuse_recording()
    named = zip((INPUT, SECOND), inputs, strict=False)
    simulated = [_through(part, name, x) for name, x in named]
    return (*simulated, *inputs[len(simulated) :])


def quantize_output(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Forward hook: the output through its quantizer, once that is fitted."""
    refuse_recording()
    return _through(part, OUTPUT, output)


HOOKS = (quantize_given, quantize_output, compute_with_integers)


def _through(part: nn.Module, name: str, x: Tensor) -> Tensor:
    held = getattr(part, NAME)
    return held[name](x) if name in held and held[name].fitted else x


def hang(module: nn.Module, sites: list[Site], make: Find) -> list[RemovableHandle]:
    """The quantizer that ``make`` gives on each of the ``sites``."""
    handles = []
    for name in dict.fromkeys(site.module for site in sites):
        part = module.get_submodule(name)
        held = {site.tensor: make(site) for site in sites if site.module == name}
        setattr(part, NAME, nn.ModuleDict(held))
        if held.keys() - {OUTPUT}:
            handles.append(part.register_forward_pre_hook(quantize_given))
        if OUTPUT in held:
            handles.append(part.register_forward_hook(quantize_output))
    return handles


def use_integers(module: nn.Module, between: Between, find: Find) -> list[RemovableHandle]:
    """Norms that read channels of power-of-two scales, and softmaxes whose map is powers of two, compute with
    integers, and what comes out is quantized then. ``find``: the quantizer of a site."""
    handles = []
    for read in between.norms:
        source = find(read.source)
        if isinstance(source, PowerOfTwo):
            norm = module.get_submodule(read.norm)
            norm.__dict__[GRIDS] = Grids(source, find(read.target), read.repeats)
            handles.append(norm.register_forward_hook(compute_with_integers, prepend=True))
    for softmax, scores, attention in _maps(between, find):
        if isinstance(attention, LogSqrt2) and attention.range == UNIT:
            part = module.get_submodule(softmax)
            part.__class__ = LogIntSoftmax
            part.__dict__[GRID] = ScoreGrid(find(scores), attention)
    return handles


def _maps(between: Between, find: Find) -> Iterator[tuple[str, Site, Quantizer]]:
    for softmax, scores in between.softmaxes.items():
        owner = softmax.rpartition(".")[0]
        yield softmax, scores, find(Site(f"{owner}.matmul2", INPUT, "post_softmax"))


def norm_targets(module: nn.Module) -> Iterator[tuple[str, Quantizer]]:
    """The norms of ``module`` that compute with integers, by their dotted names, each with the quantizer on
    whose grid it writes: that of a layer which may lie elsewhere."""
    for name, part in module.named_modules():
        if GRIDS in part.__dict__:
            yield name, part.__dict__[GRIDS].target


def strip(module: nn.Module, own_quantizers: bool = False) -> None:
    """In place, of a model or a copy of it: nothing of this takes part any more. ``own_quantizers``: they go
    too."""
    for part in module.modules():
        for hooks in (part._forward_pre_hooks, part._forward_hooks):
            for key in [key for key, hook in hooks.items() if hook in HOOKS]:
                del hooks[key]
        part.__dict__.pop(GRIDS, None)
        if isinstance(part, LogIntSoftmax):
            part.__class__ = LogIntSoftmax.__mro__[1]
            part.__dict__.pop(GRID)
        if own_quantizers and hasattr(part, NAME):
            delattr(part, NAME)
