"""Bimodal integration (PTQ4SAM, arXiv 2405.03144): keys that pile up at two values are folded onto one.

In full precision the model stays the same. Published, every attention whose keys have two piles is folded;
ours leaves it where the keys' error on their grid does not fall.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..common.checks import check_choice
from ..common.hooks import hooked
from ..common.modes import evaluating
from ..common.options import check_given, option
from ..graph.sam.bimodal import RANGES, absorb, piles, signs
from ..quantizers import Uniform
from ..recipes.steps import FOLDED, add_pass
from .base import Run

FOLDS = ("helpful", "all")
SEARCHED = 2**16  # keys that the error is measured on


def _fold(name: str, value: Any) -> Any:
    check_choice(name, value, FOLDS)
    return value


def _range(name: str, value: Any) -> Any:
    check_choice(name, value, RANGES)
    return value


@dataclass(frozen=True)
class FoldOptions:
    """Of the pass."""

    fold: str = option(
        "helpful", "Keys folded", _fold, choices={"where it helps": "helpful", "wherever bimodal": "all"},
        hint="Keys at two values, each channel at one, are moved onto one side.",
    )  # fmt: skip
    peaks: str = option(
        "robust", "Piles looked for", _range, choices={"without outliers": "robust", "as published": "paper"},
        hint="An outlier stretches the range until two piles look like one.",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_given(self)


@add_pass("fold_keys", gives=(FOLDED,), Options=FoldOptions)
def fold_keys(run: Run) -> None:
    """In place; piles and signs are those of the first calibration picture."""
    module, options = run.prepared.module, run.options(FoldOptions)
    pairs = [pair for pair in run.prepared.family.foldable(module) if pair[1] in run.prepared.layers]
    keys = _keys(run, [key for _, key in pairs])
    for query, key in pairs:
        found = keys[key]
        if not piles(found[0], options.peaks).bimodal:
            continue
        sign = signs(found)
        if options.fold == "all" or _helps(run, key, found, sign):
            absorb(module.get_submodule(query), module.get_submodule(key), sign)


def _keys(run: Run, names: list[str]) -> dict[str, Tensor]:
    """What the layers ``names`` give for the first picture: [prompts, tokens, channels]."""
    module, found = run.prepared.module, {}

    def keep(name: str) -> tuple:
        def hook(layer: nn.Module, inputs: tuple, output: Tensor) -> None:
            found[name] = output

        return module.get_submodule(name), hook

    if names:
        with evaluating(module), torch.no_grad(), hooked(*map(keep, names)):
            run.pictures.first(1).through(module)
    return found


def _helps(run: Run, name: str, keys: Tensor, sign: Tensor) -> bool:
    """Whether folded keys lose less on their grid."""
    bits = run.recipe.use_for(run.prepared.layers[name].inputs[0]).bits
    few = keys.flatten(0, -2)
    few = few[:: max(1, few.numel() // SEARCHED)]
    plain, folded = (_error(each, bits) for each in (few, few * sign))
    return folded < plain


def _error(keys: Tensor, bits: int) -> float:
    quantizer = Uniform(bits, range="power").fit(keys)
    return float((quantizer(keys) - keys).abs().pow(2.4).sum())
