"""What the shapes of a file's tensors tell of a vision transformer."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt

from torch import Tensor

PATCHES = "patch_embed.proj.weight"
_BEFORE = ("cls_token", "dist_token", "reg_token", "register_tokens")  # tokens that are no patches
_HEADS = ("head.weight", "head.fc.weight")


@dataclass(frozen=True)
class Guess:
    """`family` is "vit" or "swin"; `depth` in blocks, of a Swin by stage; `classes` is 0 without a head.

    `size` is (height, width) in pixels, where positions show it. `prefix` stands before every name.
    """

    family: str
    prefix: str
    patch_size: int
    channels: int
    width: int
    depth: tuple[int, ...]
    classes: int
    prefix_tokens: int
    size: tuple[int, int] | None

    def __str__(self) -> str:
        kind = {"vit": "a vision transformer", "swin": "a Swin transformer"}[self.family]
        blocks = " + ".join(map(str, self.depth))
        head = f"{self.classes:,} classes" if self.classes else "no head"
        return (
            f"{kind} with patches of {self.patch_size} pixels, width {self.width}, {blocks} blocks and {head}"
        )


def guessed(tensors: Mapping[str, Tensor]) -> Guess | None:
    """None for what is no ViT and no Swin by timm's names, or its authors'."""
    found = [key for key, value in tensors.items() if key.endswith(PATCHES) and value.ndim == 4]
    for prefix in (key.removesuffix(PATCHES) for key in found):
        own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        depth = _depths(own, "layers.{}.blocks.{}.") or _blocks(own, "blocks.{}.")
        if depth:
            return _of(own, prefix, depth, "swin" if "layers.0.blocks.0.attn.qkv.weight" in own else "vit")
    return None


def _of(own: Mapping[str, Tensor], prefix: str, depth: tuple[int, ...], family: str) -> Guess:
    patches = own[PATCHES]
    classes = next((len(own[key]) for key in _HEADS if key in own and own[key].ndim == 2), 0)
    before = sum(own[key].shape[1] for key in _BEFORE if key in own and own[key].ndim == 3)
    size = _size(own.get("pos_embed"), before, patches.shape[-1])
    return Guess(
        family, prefix, patches.shape[-1], patches.shape[1], patches.shape[0], depth, classes, before, size
    )


def _blocks(own: Mapping[str, Tensor], pattern: str) -> tuple[int, ...]:
    count = 0
    while any(key.startswith(pattern.format(count)) for key in own):
        count += 1
    return (count,) if count else ()


def _depths(own: Mapping[str, Tensor], pattern: str) -> tuple[int, ...]:
    found: list[int] = []
    while count := _blocks(own, pattern.replace("{}", str(len(found)), 1)):
        found += count
    return tuple(found)


def _size(positions: Tensor | None, before: int, patch: int) -> tuple[int, int] | None:
    """A square's, with or without positions for the tokens before the patches."""
    if positions is None or positions.ndim != 3:
        return None
    for count in (positions.shape[1] - before, positions.shape[1] - 1, positions.shape[1]):
        side = isqrt(max(0, count))
        if side and side * side == count:
            return side * patch, side * patch
    return None
