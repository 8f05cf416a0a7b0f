"""Names of timm's for a file of weights: which of its architectures have these very shapes."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

import timm

from ...common.errors import VitqError
from .building import outlined
from .fitting import best_fit
from .guess import Guess
from .tables import Table
from .timm_config import Described

FOUND, TRIED = 3, 8  # at most: each that is tried is built
_MODULES = {"vit": ("vision_transformer", "deit"), "swin": ("swin_transformer",)}


def candidates(guess: Guess, table: Table) -> tuple[str, ...]:
    """Architectures that `table` fits at its own picture size and number of classes, the plainest name first.

    Shapes show neither how many heads there are nor which activation: the name must be the right one.
    """
    found: list[str] = []
    for tried, name in enumerate(_alike(guess)):
        if len(found) == FOUND or tried == TRIED:
            break
        if _fits(name, guess, table):
            found.append(name)
    return tuple(found)


def _alike(guess: Guess) -> list[str]:
    """Of that patch size and width."""
    part = f"patch{guess.patch_size}"
    names = (name for module in _MODULES[guess.family] for name in timm.list_models(module=module))
    ranked = sorted(
        (name for name in names if part in name.split("_")), key=lambda name: name.split("_patch")[0]
    )
    groups = (sorted(group, key=lambda name: _rank(name, guess)) for _, group in _by_size(ranked))
    members = [name for group in groups if _width(group[0], guess.family) == guess.width for name in group]
    return sorted(members, key=lambda name: _rank(name, guess))


def _by_size(names: list[str]) -> Iterator[tuple[str, Iterator[str]]]:
    """What stands before the patch size, as vit_small, says the width."""
    return groupby(names, key=lambda name: name.split("_patch")[0])


def _rank(name: str, guess: Guess) -> tuple[int, bool, int, str]:
    """Few words, then the file's own picture size."""
    other_size = guess.size is not None and str(guess.size[0]) not in name.split("_")
    return len(name.split("_")), other_size, len(name), name


@lru_cache(maxsize=512)
def _width(name: str, family: str) -> int | None:
    """Of one block, which takes a tenth of the time; None where it cannot be built so."""
    shorter = {"depths": (1, 1)} if family == "swin" else {"depth": 1}
    try:
        return outlined(
            Described(name, shorter, None, None, name).build(), name
        ).patch_embed.proj.out_channels
    except (VitqError, AttributeError):
        return None


def _fits(name: str, guess: Guess, table: Table) -> bool:
    sizes = {} if guess.size is None else {"img_size": guess.size}
    asked = Described(name, {**sizes, "num_classes": guess.classes}, None, None, name)
    try:
        fit = best_fit([table], outlined(asked.build(), name))
    except VitqError:
        return False
    own = {key.removeprefix(fit.prefix): tuple(value.shape) for key, value in table.tensors.items()}
    same = all(own.get(key, tuple(value.shape)) == tuple(value.shape) for key, value in fit.tensors.items())
    return not fit.faults and same
