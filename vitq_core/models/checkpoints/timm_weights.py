"""From a file of weights and a description to a timm model that holds exactly those weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ...common.errors import VitqError
from ..weight_file import opened
from .building import built, outlined
from .fitting import Fit, best_fit, check_kinds, fill
from .guess import guessed
from .names import some
from .positions import told_by
from .tables import Table, tables_of
from .timm_config import Described
from .unfit import refuse


@dataclass(frozen=True, eq=False)
class Filled:
    """A module with its weights, and in sentences what of the file they are where that is not plain."""

    module: nn.Module
    notes: tuple[str, ...] = ()


def filled(path: Path, name: str, where: str, described: Described) -> Filled:
    """The model that `described` asks for with the weights at `path`: evaluation mode, float32, no gradients.

    `name` is the model, `where` its file. The number of classes is the file's where `described` says none.
    Raises VitqError where a tensor of either is left over, has another shape or is no plain finite number.
    """
    tables = tables_of(opened(path, name), name)
    fit, changes = matched(tables, where, described)
    module = built(described.build(**changes), described.source)
    fill(module, fit.tensors, name)
    return Filled(module.float().eval().requires_grad_(False), _notes(fit))


def matched(tables: list[Table], where: str, described: Described) -> tuple[Fit, dict[str, Any]]:
    """The table that is the model's, and the arguments with which the model is as the file has it."""
    outline = outlined(described.build(), described.source)
    fit, heads = best_fit(tables, outline), _heads(outline)
    changes = told_by(fit, outline, described)
    if changes:
        outline = outlined(described.build(**changes), described.source)
        fit = best_fit([fit.table], outline)
    if fit.faults and all(_belongs(name, heads) for name in fit.faulty):
        changes["num_classes"] = _agreed(fit, where, described, heads)
        outline = outlined(described.build(**changes), described.source)
        fit = best_fit([fit.table], outline)
    check_kinds(fit, where)
    if fit.faults:
        refuse(fit, where, described.what, guessed(fit.table.tensors))
    return fit, changes


def _heads(outline: nn.Module) -> tuple[str, ...]:
    """The names of what makes the answer, also where it passes features on."""
    get = getattr(outline, "get_classifier", None)
    found = get() if callable(get) else None
    parts = found if isinstance(found, tuple) else (found,)
    return tuple(name for name, module in outline.named_modules() if any(module is part for part in parts))


def _belongs(name: str, heads: tuple[str, ...]) -> bool:
    return name.rpartition(".")[0] in heads


def _agreed(fit: Fit, where: str, described: Described, heads: tuple[str, ...]) -> int:
    """How many classes the file has; VitqError where the description says another number."""
    key, count = _classes(fit, heads)
    if described.classes is None or described.classes == count:
        return count
    head = f"({key} has {count} rows)" if count else "(it has no head)"
    raise VitqError(
        f"{where} has {count} classes {head}, but {described.source} says {described.classes}; "
        f"with {count} there it can be loaded"
    )


def _classes(fit: Fit, heads: tuple[str, ...]) -> tuple[str, int]:
    """The name of the head's weight in the file and its rows; 0 where there is none."""
    held = {name.removeprefix(fit.prefix): value for name, value in fit.table.tensors.items()}
    for key in (f"{head}.weight" for head in heads):
        value = fit.tensors.get(key, held.get(key))
        if value is not None and value.ndim:
            return key, len(value)
    return "", 0


def _notes(fit: Fit) -> tuple[str, ...]:
    said = []
    if fit.table.label:
        said.append(f"Its weights are those under {fit.table.label}.")
    if fit.unused:
        said.append(f"Left out, as no answer needs it: {some(fit.unused)}.")
    changed = [name for name, value in fit.tensors.items() if _resampled(name, value, fit)]
    if changed:
        said.append(f"Resampled to the model's size: {some(changed)}.")
    return tuple(said)


def _resampled(name: str, value: object, fit: Fit) -> bool:
    stored = fit.table.tensors.get(fit.prefix + name)
    return stored is not None and stored.numel() != value.numel()
