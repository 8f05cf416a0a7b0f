"""Which tensor of a file is which of the model, with none of either left unaccounted for.

timm's own loader is not asked: for some architectures it passes over whatever is missing, and random weights
stay in the model without a word.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from inspect import signature

import torch
from torch import Tensor, nn

from ...common.errors import VitqError
from .building import MISFITS
from .names import left_out, prefixes
from .tables import Table

Tensors = dict[str, Tensor]
PLAIN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, eq=False)
class Fit:
    """`tensors` by the model's names, and what is wrong with them.

    `prefix` stood before the names of `table`; `unused` is left out on purpose, `extra` is not. `reshaped`:
    (name, its shape, the model's).
    """

    table: Table
    prefix: str
    tensors: Tensors
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    unused: tuple[str, ...]

    @property
    def faults(self) -> int:
        return len(self.missing) + len(self.extra) + len(self.reshaped)

    @property
    def faulty(self) -> set[str]:
        return {*self.missing, *self.extra, *(name for name, _, _ in self.reshaped)}


def best_fit(tables: Iterable[Table], outline: nn.Module) -> Fit:
    """The first that fits, by the order of `tables`; where none does, the one with the fewest faults."""
    closest: Fit | None = None
    for table in tables:
        for found in _fits(table, outline):
            if not found.faults:
                return found
            closest = found if closest is None or found.faults < closest.faults else closest
    return closest


def _fits(table: Table, outline: nn.Module) -> Iterable[Fit]:
    """As it is, then as timm's filter makes an original's names and another grid's positions its own."""
    for prefix in prefixes(table.tensors, outline.state_dict().keys()):
        inside = {k.removeprefix(prefix): v for k, v in table.tensors.items() if k.startswith(prefix)}
        outside = [key for key in table.tensors if not key.startswith(prefix)]
        for tensors in (inside, _as_timm_names(inside, outline)):
            if tensors is not None:
                yield compared(Fit(table, prefix, tensors, (), (), (), ()), inside, outside, outline)


def compared(fit: Fit, inside: Tensors, outside: list[str], outline: nn.Module) -> Fit:
    """`fit` with what is wrong with its tensors for `outline`.

    `inside`: the tensors before a conversion, `outside`: names that were not looked at.
    """
    expected = {name: tuple(value.shape) for name, value in outline.state_dict().items()}
    known = {name: fit.tensors[name] for name in expected if name in fit.tensors}
    beside = [*_lost(inside, fit.tensors), *(name for name in fit.tensors if name not in expected), *outside]
    unused = left_out([*beside, *known]) & set(beside)
    shapes = ((name, tuple(value.shape), expected[name]) for name, value in known.items())
    return Fit(
        fit.table, fit.prefix, known,
        missing=tuple(name for name in expected if name not in known),
        extra=tuple(name for name in beside if name not in unused),
        reshaped=tuple(row for row in shapes if row[1] != row[2]),
        unused=tuple(name for name in beside if name in unused),
    )  # fmt: skip


def _lost(before: Tensors, after: Tensors) -> list[str]:
    """Names whose tensors a conversion dropped: under no name, and no part of another."""
    kept = {value.data_ptr() for value in after.values()}
    return [name for name, value in before.items() if name not in after and value.data_ptr() not in kept]


def _as_timm_names(tensors: Tensors, outline: nn.Module) -> Tensors | None:
    """None where timm has no filter for the model, or its filter cannot make anything of `tensors`."""
    convert = getattr(sys.modules[type(outline).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return None
    options = {}
    if "adapt_layer_scale" in signature(convert).parameters:
        options["adapt_layer_scale"] = any("gamma_" in name for name in tensors)
        if "flexi" in str(getattr(outline, "pretrained_cfg", {}).get("architecture")):
            options |= {"interpolation": "bilinear", "antialias": False}  # as timm does for these
    try:
        return convert(dict(tensors), outline, **options)
    except MISFITS:
        return None


def check_kinds(fit: Fit, where: str) -> None:
    """VitqError for tensors that are no plain floating-point numbers; `where`: what the file is called."""
    for name, value in fit.tensors.items():
        kind = str(value.dtype).removeprefix("torch.")
        if value.layout != torch.strided or value.is_meta or value.is_quantized:
            raise VitqError(f"{where} holds {name} in a form that cannot be read; save plain dense tensors")
        if not (value.is_floating_point() or value.is_complex()):
            raise VitqError(
                f"{where} holds whole numbers ({name} is {kind}), so it is quantized already; give the "
                "full-precision one"
            )
        if value.dtype not in PLAIN:
            raise VitqError(
                f"{where} holds {kind} numbers (such as {name}), which mean nothing without scales kept "
                "elsewhere; give the full-precision one"
            )


def fill(module: nn.Module, tensors: Tensors, where: str) -> None:
    """Every weight of `module` from `tensors`, in place, as float32. VitqError for NaN and infinity."""
    for name, target in module.state_dict().items():
        target.copy_(tensors[name])
        if not torch.isfinite(target).all():
            raise VitqError(f"the weights of {where} contain values that are not finite numbers ({name})")
