"""Swin: any timm ``SwinTransformer``. Its layers are called stages here, as the paper has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from timm.models.swin_transformer import (
    PatchMerging,
    SwinTransformer,
    SwinTransformerBlock,
    WindowAttention,
)
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.models.swin_transformer_v2_cr import SwinTransformerV2Cr
from torch import nn

from ...common.errors import VitqError
from ..base import FAMILIES, AttentionMaps, Family
from ..classifiers import linears_of
from ..listing import linear_sites, mlp_sites, norm_role, product_sites, rescalable
from ..site import Between, Heads, NormPair, Site, Unit
from . import between
from . import config as swin_config
from .blocks import ExplicitSwinBlock

FC = "head.fc"


class Swin(Family):
    """Windows of any size and shape, pictures that no window divides, with or without classes."""

    name = "swin"

    def matches(self, module: nn.Module) -> bool:
        return isinstance(module, SwinTransformer)

    def refused(self, module: nn.Module) -> str | None:
        if not isinstance(module, (SwinTransformerV2, SwinTransformerV2Cr)):
            return None
        return (
            f"{type(module).__name__} is a Swin V2, which is not known here: it compares by cosine and makes "
            "its position biases from a network of their own; give a Swin of the first version (timm's "
            "SwinTransformer)"
        )

    def rewrite(self, module: SwinTransformer) -> None:
        self._rewrite(module, pad_first=False)

    def _rewrite(self, module: SwinTransformer, pad_first: bool) -> None:
        for stage_name, stage in _stages(module):
            _check(stage.downsample, f"{stage_name}.downsample", (PatchMerging, nn.Identity))
            for index, block in enumerate(stage.blocks):
                if type(block) is ExplicitSwinBlock:
                    continue
                name = f"{stage_name}.blocks.{index}"
                _check(block, name, (SwinTransformerBlock,))
                _check(block.attn, f"{name}.attn", (WindowAttention,))
                stage.blocks[index] = ExplicitSwinBlock(block, pad_first).train(block.training)

    def sites(self, module: SwinTransformer) -> list[Site]:
        found = linear_sites("patch_embed.proj", "image")
        for name, part in _parts(module):
            found += _block_sites(name, part) if _is_block(part) else _merging_sites(name, part)
        return found + [
            site for name in linears_of(FC, module.head.fc) for site in linear_sites(name, "features")
        ]

    def pairs(self, module: SwinTransformer) -> list[NormPair]:
        found = []
        for name, part in _parts(module):
            readers = {"norm1": "attn.qkv", "norm2": "mlp.fc1"} if _is_block(part) else {"norm": "reduction"}
            found += [
                NormPair(f"{name}.{norm}", (f"{name}.{reader}",))
                for norm, reader in readers.items()
                if rescalable(part.get_submodule(norm))
            ]
        return found

    def heads(self, module: SwinTransformer) -> list[Heads]:
        attentions = [(f"{name}.attn", part.attn) for name, part in _parts(module) if _is_block(part)]
        return [
            Heads(f"{name}.qkv", f"{name}.proj", attention.num_heads, attention.head_dim)
            for name, attention in attentions
        ]

    def between(self, module: SwinTransformer) -> Between:
        return between.listed(module, [*_parts(module)], linears_of(FC, module.head.fc))

    def blocks(self, module: SwinTransformer) -> list[str]:
        return [name for name, part in _parts(module) if _is_block(part)]

    def units(self, module: SwinTransformer) -> list[Unit]:
        """An attention takes and gives whole maps, so its windows count as one picture's."""
        found = [Unit("patch_embed.proj")]
        for name, part in _parts(module):
            if _is_block(part):
                found += [Unit(f"{name}.attn", (f"{name}.attn.softmax",)), Unit(f"{name}.mlp")]
            else:
                found.append(Unit(f"{name}.reduction"))
        return found + [Unit(name) for name in linears_of(FC, module.head.fc)]

    def attention_maps(self, module: SwinTransformer, size: tuple[int, int]) -> AttentionMaps | None:
        """None: maps of windows, of other windows in every block, cannot be multiplied."""
        return None

    def input_size(self, module: SwinTransformer) -> tuple[int, int, int] | None:
        embed = module.patch_embed
        return (module.in_chans, *embed.img_size) if embed.strict_img_size else None

    def config(self, module: SwinTransformer) -> dict[str, Any]:
        return swin_config.describe(module)

    def repeats(self, config: dict[str, Any]) -> tuple[int, ...]:
        return *config["depths"], sum(config["depths"])

    def build(self, config: dict[str, Any]) -> SwinTransformer:
        """``config["pad_first"]``: whether maps are filled up before they are rolled, as the published
        detection backbones have it; timm's own are not."""
        module = swin_config.construct(config).eval()
        self._rewrite(module, config.get(swin_config.PAD_FIRST, False))
        return module


FAMILIES.register("swin")(Swin())


def _check(part: nn.Module, name: str, known: tuple[type, ...]) -> None:
    if type(part) not in known:
        raise VitqError(f"class {type(part).__name__} of {name} is not one the Swin family knows")


def _stages(module: SwinTransformer) -> list[tuple[str, nn.Module]]:
    return [(f"layers.{index}", stage) for index, stage in enumerate(module.layers)]


def _parts(module: SwinTransformer) -> Iterator[tuple[str, nn.Module]]:
    """(name, block or patch merging), in forward order."""
    for name, stage in _stages(module):
        if not isinstance(stage.downsample, nn.Identity):
            yield f"{name}.downsample", stage.downsample
        yield from ((f"{name}.blocks.{index}", block) for index, block in enumerate(stage.blocks))


def _is_block(part: nn.Module) -> bool:
    return not isinstance(part, PatchMerging)


def _block_sites(name: str, block: nn.Module) -> list[Site]:
    return [
        *linear_sites(f"{name}.attn.qkv", norm_role(block.norm1)),
        *product_sites(f"{name}.attn"),
        *linear_sites(f"{name}.attn.proj", "attention_output"),
        *mlp_sites(f"{name}.mlp", block.mlp, norm_role(block.norm2), "Swin"),
    ]


def _merging_sites(name: str, merging: PatchMerging) -> list[Site]:
    return linear_sites(f"{name}.reduction", norm_role(merging.norm))
