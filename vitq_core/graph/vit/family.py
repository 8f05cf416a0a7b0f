"""ViT and DeiT: any timm ``VisionTransformer`` built of standard blocks and attention."""

from __future__ import annotations

from typing import Any

from timm.layers import Attention
from timm.models.vision_transformer import ResPostBlock, VisionTransformer
from torch import nn

from ...common.errors import VitqError
from ..base import FAMILIES, AttentionMaps, Family
from ..classifiers import linears_of
from ..listing import activation_role, linear_sites, mlp_sites, norm_role, product_sites, rescalable
from ..site import Between, Heads, NormPair, Site, Unit
from . import between
from . import config as vit_config
from .blocks import EXPLICIT, ExplicitAttention, ExplicitParallelScalingBlock, ExplicitResPostBlock
from .embedding import name_embedding

ATTENDING = (ExplicitAttention, ExplicitParallelScalingBlock)
ENDS = ("proj", "fc2", "attn_out_proj", "mlp_out_proj")  # layers that read no norm


class ViT(Family):
    """Class token or pooled, with or without LayerScale, q/k norm, registers, gated or distilled."""

    name = "vit"

    def matches(self, module: nn.Module) -> bool:
        return isinstance(module, VisionTransformer)

    def rewrite(self, module: VisionTransformer) -> None:
        for index, block in enumerate(module.blocks):
            if type(block) in EXPLICIT.values():
                continue
            if type(block) not in EXPLICIT:
                raise VitqError(
                    f"block class {type(block).__name__} of blocks.{index} is not one the ViT family knows"
                )
            _rewrite_attention(block, f"blocks.{index}")
            module.blocks[index] = EXPLICIT[type(block)](block)
            module.blocks[index].train(block.training)
        name_embedding(module)

    def sites(self, module: VisionTransformer) -> list[Site]:
        found = _patch_embedding(module)
        for name, block in _named_blocks(module):
            found += _block_sites(name, block)
        return found + [site for head in _classifiers(module) for site in linear_sites(head, "features")]

    def pairs(self, module: VisionTransformer) -> list[NormPair]:
        found = []
        for name, block in _named_blocks(module):
            if isinstance(block, (ResPostBlock, ExplicitResPostBlock)):
                continue  # its norms feed the residual stream, which nothing can rescale
            for norm, part, readers in _norms_and_readers(name, block):
                if rescalable(norm):
                    found.append(
                        NormPair(_name_of(module, norm), tuple(f"{part}.{reader}" for reader in readers))
                    )
        return found

    def heads(self, module: VisionTransformer) -> list[Heads]:
        return [
            _heads(f"{name}.{part}", attention)
            for name, block in _named_blocks(module)
            for part, attention in _attentions(block)
            if isinstance(attention, ExplicitAttention)  # in another, one layer makes more than heads
        ]

    def between(self, module: VisionTransformer) -> Between | None:
        return between.listed(module, _classifiers(module))

    def blocks(self, module: VisionTransformer) -> list[str]:
        return [name for name, _ in _named_blocks(module)]

    def units(self, module: VisionTransformer) -> list[Unit]:
        parts = [
            Unit(part, (f"{part}.softmax",) if isinstance(owner, ATTENDING) else ())
            for name, block in _named_blocks(module)
            for part, _, owner in _parts(name, block)
        ]
        embedding = [Unit("patch_embed.proj")] if _patch_embedding(module) else []
        return embedding + parts + [Unit(name) for name in _classifiers(module)]

    def attention_maps(self, module: VisionTransformer, size: tuple[int, int]) -> AttentionMaps:
        blocks = tuple(
            tuple(".".join(filter(None, (name, part, "softmax"))) for part, _ in _attentions(block))
            for name, block in _named_blocks(module)
        )
        grid = module.patch_embed.dynamic_feat_size(size)
        prefix = module.num_prefix_tokens
        pooled = slice(0 if module.pool_include_prefix else prefix, None)
        answers = 2 if hasattr(module, "head_dist") else 1  # a distilled one averages two tokens' answers
        answer = slice(0, answers) if module.global_pool == "token" and module.has_class_token else pooled
        return AttentionMaps(blocks, prefix, answer, tuple(grid))

    def input_size(self, module: VisionTransformer) -> tuple[int, int, int] | None:
        if getattr(module.patch_embed, "strict_img_size", True) and module.patch_embed.img_size:
            return (module.in_chans, *module.patch_embed.img_size)
        return None

    def config(self, module: VisionTransformer) -> dict[str, Any]:
        return vit_config.describe(module)

    def repeats(self, config: dict[str, Any]) -> tuple[int, ...]:
        depth, parallel = config["depth"], config["block"]["options"].get("num_parallel", 1)
        return depth, parallel, depth * parallel

    def build(self, config: dict[str, Any]) -> nn.Module:
        module = vit_config.construct(config).eval()
        self.rewrite(module)
        return module


FAMILIES.register("vit")(ViT())


def _rewrite_attention(block: nn.Module, where: str) -> None:
    for name, child in list(block.named_modules()):
        if not name.endswith("attn"):
            continue
        if type(child) is not Attention:
            raise VitqError(
                f"attention class {type(child).__name__} of {where} is not one the ViT family knows"
            )
        parent = block.get_submodule(name.rpartition(".")[0])
        parent.attn = ExplicitAttention(child)


def _named_blocks(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(f"blocks.{name}", block) for name, block in module.blocks.named_children()]


def _attentions(block: nn.Module) -> list[tuple[str, nn.Module]]:
    """By their names in the block; "" is the block itself."""
    return [(name, part) for name, part in block.named_modules() if isinstance(part, ATTENDING)]


def _heads(name: str, attention: ExplicitAttention) -> Heads:
    """A norm of queries and keys, or of the averages, and a gate work on single channels."""
    scores = isinstance(attention.q_norm, nn.Identity) and isinstance(attention.k_norm, nn.Identity)
    values = isinstance(attention.norm, nn.Identity) and attention.gate is None
    size = attention.head_dim
    return Heads(f"{name}.qkv", f"{name}.proj", attention.num_heads, size, scores, values)


def _classifiers(module: VisionTransformer) -> list[str]:
    """The linear layers that make the answer."""
    return [
        inner for name in ("head", "head_dist") for inner in linears_of(name, getattr(module, name, None))
    ]


def _patch_embedding(module: VisionTransformer) -> list[Site]:
    projection = getattr(module.patch_embed, "proj", nn.Identity())
    return [] if isinstance(projection, nn.Identity) else linear_sites("patch_embed.proj", "image")


def _parts(name: str, block: nn.Module) -> list[tuple[str, nn.Module, nn.Module]]:
    """(name, norm before it or None, module) of every attention and MLP of a block, in forward order; of one
    whose layers serve both, the block."""
    if isinstance(block, ExplicitParallelScalingBlock):
        return [(name, block.in_norm, block)]
    if hasattr(block, "attns"):
        attns = [(f"{name}.attns.{i}.attn", part.norm, part.attn) for i, part in enumerate(block.attns)]
        return attns + [(f"{name}.ffns.{i}.mlp", part.norm, part.mlp) for i, part in enumerate(block.ffns)]
    return [(f"{name}.attn", block.norm1, block.attn), (f"{name}.mlp", block.norm2, block.mlp)]


def _block_sites(name: str, block: nn.Module) -> list[Site]:
    sites = []
    for part, norm, module in _parts(name, block):
        entry = "residual_stream" if isinstance(block, ExplicitResPostBlock) else norm_role(norm)
        if isinstance(module, ExplicitParallelScalingBlock):
            sites += _scaling_sites(part, module, entry)
        elif isinstance(module, ExplicitAttention):
            sites += _attention_sites(part, module, entry)
        else:
            sites += mlp_sites(part, module, entry, "ViT")
    return sites


def _attention_sites(name: str, attention: ExplicitAttention, entry: str) -> list[Site]:
    gate = linear_sites(f"{name}.gate", entry) if attention.gate is not None else []
    return [
        *gate,
        *linear_sites(f"{name}.qkv", entry),
        *product_sites(name),
        *linear_sites(f"{name}.proj", "attention_output"),
    ]


def _scaling_sites(name: str, block: ExplicitParallelScalingBlock, entry: str) -> list[Site]:
    return [
        *linear_sites(f"{name}.in_proj", entry),
        *product_sites(name),
        *linear_sites(f"{name}.attn_out_proj", "attention_output"),
        *linear_sites(f"{name}.mlp_out_proj", activation_role(block.mlp_act)),
    ]


def _norms_and_readers(name: str, block: nn.Module) -> list[tuple[nn.Module, str, list[str]]]:
    found = []
    for part, norm, module in _parts(name, block):
        readers = [child for child, layer in module.named_children() if isinstance(layer, nn.Linear)]
        found.append((norm, part, [reader for reader in readers if reader not in ENDS]))
    return found


def _name_of(root: nn.Module, part: nn.Module) -> str:
    return next(name for name, module in root.named_modules() if module is part)
