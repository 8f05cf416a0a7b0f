"""The network inside whatever the engine's functions are given."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn
from torch.nn.utils import parametrize

from ..common.errors import VitqError

# What a module keeps its hooks in; state-dict hooks change nothing that a forward computes.
HOOKS = (
    *("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called"),
    *("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_backward_hooks", "_backward_pre_hooks"),
)
# Settings of training: they recompute activations in the backward pass, which our own passes must not see.
CHECKPOINTING = ("grad_checkpointing", "gradient_checkpointing")


def module_of(model: object, caller: str) -> nn.Module:
    """The module of a Model, of a quantized result, or itself; ValueError in ``caller``'s name otherwise."""
    if isinstance(model, nn.Module):
        return model
    for name in ("module", "model"):
        if isinstance(getattr(model, name, None), nn.Module):
            return getattr(model, name)
    raise ValueError(f"{caller} takes a model of load_model or an nn.Module, got {type(model).__name__}")


def network_of(model: object, caller: str) -> nn.Module:
    """As :func:`module_of`, and out of wrappers that add nothing to what it computes."""
    module = module_of(model, caller)
    while (inner := _wrapped(module)) is not None:
        module = inner
    return module


def _wrapped(module: nn.Module) -> nn.Module | None:
    """What a data-parallel or compiled module runs; None for every other and where hooks come between."""
    if module._forward_hooks or module._forward_pre_hooks:
        return None
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return module.module
    # Its class lives in torch._dynamo, which takes seconds to import.
    return module._modules.get("_orig_mod") if type(module).__name__ == "OptimizedModule" else None


@torch.no_grad()
def check_finite(module: nn.Module) -> None:
    """Raises VitqError for a parameter with NaN or infinite values."""
    for name, parameter in module.named_parameters():
        if not torch.isfinite(parameter).all():
            raise VitqError(f"the model's {name} contains NaN or infinite values")


def private_copy(module: nn.Module) -> nn.Module:
    """A :func:`standalone` network for hooks and rewriting; weights are shared, not copied.

    Nothing requires grad, and nothing done to its structure shows in ``module``.
    """
    return standalone(module, _shared_tensors(module))


def standalone(module: nn.Module, memo: dict[int, object] | None = None) -> nn.Module:
    """A float32 copy in evaluation mode in which nothing is tied, hooked or computed at every use.

    A quantized model keeps its hooks: they quantize.
    """
    hooks = {} if hasattr(module, "vitq") else _hooks(module, keep=False)
    copy = plain(untied(copied(module, {**(memo or {}), **hooks}).float().eval()))
    for part in copy.modules():
        for setting in CHECKPOINTING:
            if getattr(part, setting, False) is True:
                setattr(part, setting, False)
    return copy


def reference_copy(module: nn.Module) -> nn.Module:
    """A float32 copy in evaluation mode to compare with: hooks and all. Weights and hooks are shared."""
    return copied(module, {**_shared_tensors(module), **_hooks(module, keep=True)}).float().eval()


def _shared_tensors(module: nn.Module) -> dict[int, object]:
    """What deepcopy takes in place of the module's tensors."""
    shared: dict[int, object] = {}
    for parameter in module.parameters():
        shared[id(parameter)] = nn.Parameter(usable(parameter), requires_grad=False)
    for buffer in module.buffers():
        shared[id(buffer)] = usable(buffer)
    return shared


def _hooks(module: nn.Module, keep: bool) -> dict[int, object]:
    """What deepcopy takes in place of the module's tables of hooks: the same hooks, or none."""
    tables = [vars(part)[name] for part in module.modules() for name in HOOKS]
    return {id(table): type(table)(table if keep else ()) for table in tables}


def copied(module: nn.Module, memo: dict[int, object] | None = None) -> nn.Module:
    """A deep copy; VitqError where a tensor that still has its history makes that impossible."""
    try:
        return deepcopy(module, memo)
    except RuntimeError as error:
        raise VitqError(
            "the model cannot be copied: it keeps a tensor with its history, such as an output of its own; "
            f"detach or delete that ({error})"
        ) from error


def untied(module: nn.Module) -> nn.Module:
    """``module`` with a layer and parameters of its own at every place: what is done to one reaches no other.

    Changes it in place; tied ones become copies.
    """
    seen: set[int] = set()
    for name, part in list(module.named_modules(remove_duplicate=False)):
        if id(part) in seen:
            module.set_submodule(name, deepcopy(part))
        seen.add(id(part))
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if id(parameter) in seen:
                own = nn.Parameter(parameter.detach().clone(), requires_grad=parameter.requires_grad)
                setattr(part, name, own)
            seen.add(id(parameter))
    return module


@torch.no_grad()
def plain(module: nn.Module) -> nn.Module:
    """``module``, in evaluation mode, with values for weights that are computed at every use, in place.

    Those of weight or spectral norm, say; a quantized model keeps its own. PyTorch's function that removes
    them would change the class that all copies share.
    """
    if hasattr(module, "vitq"):
        return module
    for part in filter(parametrize.is_parametrized, list(module.modules())):
        values = {name: getattr(part, name) for name in part.parametrizations}
        part.__class__ = parametrize.type_before_parametrizations(part)
        del part.parametrizations
        for name, value in values.items():
            part.register_parameter(name, nn.Parameter(value, requires_grad=False))
    return module


def usable(tensor: torch.Tensor) -> torch.Tensor:
    """Without history, sharing memory; a copy where it was made in inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor.detach()
