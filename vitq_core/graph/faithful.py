"""Whether the rewritten copy computes what the model given computes, and whether all its layers are found.

Both are asked before any long work: hooks, patched methods and adapters can hide a layer or be lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from inspect import isroutine

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.utils import _pytree as pytree

from ..common.batch import Batch
from ..common.errors import VitqError
from .base import Family
from .copies import reference_copy
from .site import WEIGHT, Layer, Site

# Layers whose weight may be quantized, as torch computes them.
STOCK = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
COMPARED = 4  # pictures to compare a model with, where there are so many
TOLERANCE = 1e-4  # ‖a − b‖ / ‖b‖ of one output: far above rounding, far below anything that was lost
# Hooks that compute a weight at every forward, and what makes it permanent.
COMPUTED = {
    BasePruningMethod: "torch.nn.utils.prune.remove",
    SpectralNorm: "torch.nn.utils.remove_spectral_norm",
    WeightNorm: "torch.nn.utils.remove_weight_norm",
}


def check_given(module: nn.Module) -> None:
    """VitqError for methods that were replaced on an instance and weights that hooks compute.

    What replaced a method holds on to the model given, so a copy would run that and not itself.
    """
    for name, part in module.named_modules():
        for method, value in vars(part).items():
            if callable(value) and isroutine(getattr(type(part), method, None)) and not _own(part, value):
                raise VitqError(
                    f"the {method} of {name or 'the model'} was replaced from outside; "
                    "give the model without that wrapper"
                )
        for hook in part._forward_pre_hooks.values():
            for kind, remedy in COMPUTED.items():
                if isinstance(hook, kind):
                    raise VitqError(
                        f"a {type(hook).__name__} hook computes the weight of {name or 'the model'} anew at "
                        f"every forward; make it permanent first, with {remedy}"
                    )


def check_faithful(
    given: nn.Module, copy: nn.Module, sites: list[Site], layers: dict[str, Layer], batch: Batch, one: Batch
) -> None:
    """``copy``: of ``given``, rewritten, with the traced ``layers``; ``batch``: of a few pictures, ``one``:
    of the first of them.

    Raises VitqError where a layer is not what its name says, is used without being called, or where the two
    compute different things. Neither model is changed.
    """
    check_layers(copy, sites)
    check_reached(copy, sites, layers, one)
    check_same(given, copy, batch)


def check_layers(module: nn.Module, sites: list[Site]) -> None:
    """VitqError for a site whose module is no linear layer or convolution, or computes more than one."""
    for site in sites:
        layer = module.get_submodule(site.module)
        if site.tensor != WEIGHT or _is_plain(layer):
            continue
        convolves = any(isinstance(part, nn.Conv2d) for part in layer.modules())
        kind = "convolution" if convolves else "linear layer"
        raise VitqError(
            f"{site.module} is a {type(layer).__name__}, not a {kind}; merge adapters into the weights "
            f"first, so that an ordinary {kind} is there"
        )


def check_reached(module: nn.Module, sites: list[Site], layers: dict[str, Layer], batch: Batch) -> None:
    """VitqError where a layer that the forward did not call has a part in the output all the same."""
    if not layers:
        raise VitqError(
            "the model's forward was replaced from outside, so that none of its layers ran; "
            "give the model without that wrapper"
        )
    sites = [site for site in sites if site.module not in layers]
    weighted = {site.module: None for site in sites if site.tensor == WEIGHT}
    reached = {_parent(name) for name in layers}
    for name in (site.module for site in sites if site.module not in weighted):
        if (parent := _parent(name)) in reached:
            raise VitqError(
                f"the model's forward calls parts of {parent} but not {parent} itself, so that "
                f"{name} would stay in floating point; let it call the whole module"
            )
    if used := _used(module, list(weighted), batch):
        raise VitqError(
            f"the model's forward uses the weight of {used[0]} without calling that layer, so it would stay "
            "in floating point; let it call the layer"
        )


def check_same(given: nn.Module, copy: nn.Module, batch: Batch) -> None:
    """VitqError where any output of ``copy`` is further than :data:`TOLERANCE` from that of ``given``.

    ``given`` of lower precision is compared in float32, as it is quantized.
    """
    with _comparable(batch.device):
        actual = tensors_of(batch.through(copy))
    with _comparable(batch.device):
        expected = tensors_of(_run_given(given, batch))
    if not all(torch.isfinite(y).all() for y in expected):
        raise VitqError(
            "the model gives outputs that are not finite numbers; there is nothing to explain or quantize"
        )
    if [y.shape for y in actual] != [y.shape for y in expected]:
        raise VitqError(f"built anew from its parts the model gives other outputs; {_suspects(given)}")
    worst = max((distance(a, b) for a, b in zip(actual, expected, strict=True)), default=0.0)
    if worst > TOLERANCE:
        raise VitqError(
            f"built anew from its parts the model computes something else (its outputs differ by "
            f"{100 * worst:.3g} %); {_suspects(given)}"
        )


def _run_given(given: nn.Module, batch: Batch) -> object:
    try:
        return batch.through(reference_copy(given))
    except Exception as error:
        if not _hooked(given):
            raise
        raise VitqError(
            f"with its hooks the model cannot be run in float32: {error}; {_suspects(given)}"
        ) from error


def unsavable(module: nn.Module, family: Family) -> str | None:
    """Why ``module`` could not be rebuilt from a saved description, None where nothing speaks against it."""
    try:
        family.config(module)
    except VitqError as error:
        return str(error)
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError, AssertionError) as error:
        return f"its architecture cannot be described: {error}"
    return None


def _own(part: nn.Module, value: object) -> bool:
    """Whether ``value`` is a method of ``part``'s own class, which a copy runs on itself."""
    function = getattr(value, "__func__", None)
    return (
        getattr(value, "__self__", None) is part
        and getattr(type(part), getattr(function, "__name__", ""), None) is function
    )


def _is_plain(layer: nn.Module) -> bool:
    stock = next((kind for kind in STOCK if isinstance(layer, kind)), None)
    if stock is None:
        return False
    if layer._parameters.get(WEIGHT) is None and not parametrize.is_parametrized(layer, WEIGHT):
        return False
    return type(layer).forward is stock.forward or _computes_as(layer, stock)


@torch.no_grad()
def _computes_as(layer: nn.Module, stock: type[nn.Module]) -> bool:
    """Whether a subclass with a forward of its own (timm's for mixed precision) is one all the same."""
    shape = (2, layer.in_features) if stock is nn.Linear else (2, layer.in_channels, *layer.kernel_size)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(layer.weight)
    return torch.allclose(type(layer).forward(layer, x), stock.forward(layer, x), rtol=1e-5, atol=1e-6)


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _used(module: nn.Module, names: list[str], batch: Batch) -> list[str]:
    """Those of the layers whose weights the output depends on."""
    if not names or hasattr(module, "vitq"):
        return []
    weights = [module.get_submodule(name).weight for name in names]
    try:
        for weight in weights:
            weight.requires_grad_(True)
        with _comparable(batch.device, gradients=True):
            outputs = [y for y in tensors_of(batch.through(module)) if y.requires_grad]
            total = sum((y.sum() for y in outputs), torch.zeros((), requires_grad=True))
            gradients = torch.autograd.grad(total, weights, allow_unused=True)
    finally:
        for weight in weights:
            weight.requires_grad_(False)
    return [name for name, gradient in zip(names, gradients, strict=True) if gradient is not None]


@contextmanager
def _comparable(device: torch.device, gradients: bool = False) -> Iterator[None]:
    """Exact float32 products and the same random numbers for everyone; the caller's stay as they were."""
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        torch.autocast(device.type, enabled=False),
        torch.enable_grad() if gradients else torch.no_grad(),
        _exact(),
    ):
        torch.default_generator.manual_seed(0)  # not torch.manual_seed, which seeds every accelerator too
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(0)
        yield


@contextmanager
def _exact() -> Iterator[None]:
    """No shortened mantissas: fused and written-out attention differ by more than the tolerance with them."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)


def tensors_of(output: object) -> list[Tensor]:
    """The tensors of whatever a model returns: tuples, dicts, dataclasses."""
    found = []
    for leaf in pytree.tree_leaves(output):
        if isinstance(leaf, Tensor):
            found.append(leaf)
        elif is_dataclass(leaf) and not isinstance(leaf, type):
            found += tensors_of([getattr(leaf, field.name) for field in fields(leaf)])
    return found


def distance(a: Tensor, b: Tensor) -> float:
    """‖a − b‖ / ‖b‖, zero for equal ones; of yes and no, which rounding may turn, the share that differs."""
    if a.dtype == torch.bool:
        return float((a != b).double().mean()) if a.numel() else 0.0
    if not a.is_floating_point():
        return 0.0 if torch.equal(a, b) else 1.0
    difference = (a.double() - b.double()).norm().item()
    if difference == 0:
        return 0.0
    size = b.double().norm().item()
    return difference / size if size else float("inf")


def _suspects(module: nn.Module) -> str:
    """What may be the cause, and what to do about it."""
    if hooked := _hooked(module):
        more = f" (and of {len(hooked) - 1} more)" if len(hooked) > 1 else ""
        return (
            f"the forward hook of {hooked[0]}{more} changes what passes and cannot be kept: "
            "remove it, or put what it does into the weights"
        )
    return "an attention or a block was changed from outside: give the model as timm builds it"


def _hooked(module: nn.Module) -> list[str]:
    return [
        name or "the model itself"
        for name, part in module.named_modules()
        if part._forward_hooks or part._forward_pre_hooks
    ]
