"""LRP-QViT's policy (arXiv 2401.11243): a bit more in the first blocks, a bit less where it matters least."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ..graph.site import Layer
from ..recipes.recipe import MAX_BITS, MIN_BITS, check_bits
from .table import IMAGE_BITS, BitsTable

Shift = dict[str, int]


def paper_policy(
    scores: dict[str, float],
    layers: dict[str, Layer],
    blocks: Sequence[str],
    base: tuple[int, int],
    first_blocks: int = 2,
    reductions: bool = True,
) -> BitsTable:
    """``base``: (weight, activation) bits. All layers of the first ``first_blocks`` blocks get a bit more.

    For each layer type as many blocks of the rest as were raised, those with the least score, get a bit less,
    so that the average stays; where layers differ in size, or too few blocks are left, more are lowered and
    then raises taken back (the least important first), until the type's average is at most the base.
    Layers outside the blocks keep the base, the picture 8 bits. Raises ValueError for impossible settings.
    """
    _check(base, blocks, first_blocks, reductions)
    shift: Shift = {}
    for group in _by_type(layers, blocks).values():
        raised = [name for index, name in group if index < first_blocks]
        rest = [name for index, name in group if index >= first_blocks]
        shift |= dict.fromkeys(raised, 1)
        if reductions:
            _balance(shift, sorted(raised, key=scores.get), sorted(rest, key=scores.get), layers)
    return {name: _bits(layer, base, shift.get(name, 0)) for name, layer in layers.items()}


def _balance(shift: Shift, raised: list[str], rest: list[str], layers: dict[str, Layer]) -> None:
    """Both lists: least important first."""
    for name in rest[: len(raised)]:
        shift[name] = -1
    for name in rest[len(raised) :]:
        if not _above(shift, [*raised, *rest], layers):
            break
        shift[name] = -1
    for name in raised:
        if not _above(shift, [*raised, *rest], layers):
            break
        shift[name] = 0


def _above(shift: Shift, names: list[str], layers: dict[str, Layer]) -> bool:
    """Is the average of weights (by parameters) or inputs (by multiply-accumulates) above the base?"""
    sums = [
        sum(shift.get(name, 0) * size(layers[name]) for name in names)
        for size in (lambda layer: layer.params, lambda layer: layer.macs)
    ]
    return max(sums) > 0


def _by_type(layers: dict[str, Layer], blocks: Sequence[str]) -> dict[str, list[tuple[int, str]]]:
    """{``attn.qkv``: [(index of the block, layer name)]}."""
    groups = defaultdict(list)
    for index, block in enumerate(blocks):
        for name in layers:
            if name.startswith(f"{block}."):
                groups[name.removeprefix(f"{block}.")].append((index, name))
    return groups


def _bits(layer: Layer, base: tuple[int, int], shift: int) -> tuple[int | None, int]:
    weight = None if layer.weight is None else base[0] + shift
    picture = layer.inputs[0].role == "image"
    return weight, IMAGE_BITS if picture else base[1] + shift


def _check(base: tuple[int, int], blocks: Sequence[str], first_blocks: int, reductions: bool) -> None:
    if len(base) != 2:
        raise ValueError(f"base_bits must be a number or a pair (weights, activations), got {base!r}")
    for bits in base:
        check_bits(bits, "base_bits")
    if not isinstance(reductions, bool):
        raise ValueError(f"reductions must be True or False, got {reductions!r}")
    if (
        isinstance(first_blocks, bool)
        or not isinstance(first_blocks, int)
        or not 0 <= first_blocks <= len(blocks)
    ):
        raise ValueError(
            f"first_blocks must be a whole number from 0 to {len(blocks)}, the number of the model's blocks, "
            f"got {first_blocks!r}"
        )
    if first_blocks:
        check_base(base)


def check_base(base: tuple[int, int], instead: str = "policy='budget'") -> None:
    """Raises ValueError for bits that have no room for one more and one less. ``instead`` takes any bits."""
    for bits in base:
        if not MIN_BITS < bits < MAX_BITS:
            raise ValueError(
                f"the paper's policy moves layers one bit up and down, so its base must be "
                f"{MIN_BITS + 1} to {MAX_BITS - 1} bits, got {bits}; {instead} has no such limit"
            )
