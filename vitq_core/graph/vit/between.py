"""What a ViT computes with between its layers: FQ-ViT's points (arXiv 2111.13824, figure 1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ..site import INPUT, OUTPUT, SECOND, STREAM, Between, ReadNorm, Site
from .blocks import (
    ExplicitAttention,
    ExplicitBlock,
    ExplicitParallelBlock,
    ExplicitParallelScalingBlock,
    ExplicitResPostBlock,
)
from .embedding import NamedEmbedding, tokens_of


@dataclass
class _Found:
    sites: list[Site] = field(default_factory=list)
    same: dict[Site, tuple[Site, float]] = field(default_factory=dict)
    norms: list[ReadNorm] = field(default_factory=list)
    softmaxes: dict[str, Site] = field(default_factory=dict)

    def add(self, module: str, role: str, tensor: str = OUTPUT) -> Site:
        self.sites.append(Site(module, tensor, role))
        return self.sites[-1]

    def read(self, norm: str, module: nn.Module, source: Site, target: Site) -> None:
        if isinstance(module, nn.LayerNorm):
            self.norms.append(ReadNorm(norm, source, target))


def listed(module: VisionTransformer, classifiers: list[str]) -> Between | None:
    """``classifiers``: the layers that make the answer. None for an embedding of an unknown kind."""
    if not isinstance(module, NamedEmbedding):
        return None
    found = _Found()
    stream = _embedding(module, found)
    for index, block in enumerate(module.blocks):
        stream = _block(f"blocks.{index}", block, stream, found)
    _answer(module, stream, classifiers, found)
    if not _in_a_row(module):
        found.norms.clear()  # what they read may have been changed on the way
    return Between(tuple(found.sites), found.same, tuple(found.norms), found.softmaxes)


def _in_a_row(module: VisionTransformer) -> bool:
    own = type(module).forward_features
    return own is VisionTransformer.forward_features and isinstance(module.patch_drop, nn.Identity)


def _embedding(module: VisionTransformer, found: _Found) -> Site:
    """The site that the first block reads."""
    found.add("patch_embed", "embedding")
    has_tokens, positions = bool(tokens_of(module)), module.pos_embed is not None
    if not positions:
        stream = found.add("embed_cat", STREAM)
    elif has_tokens and module.no_embed_class:
        found.add("embed_add", "position_embedding", SECOND)
        found.add("embed_add", "embedding")
        stream = found.add("embed_cat", STREAM)
    else:
        if has_tokens:
            found.add("embed_cat", "embedding")
        found.add("embed_add", "position_embedding", SECOND)
        stream = found.add("embed_add", STREAM)
    return stream if isinstance(module.norm_pre, nn.Identity) else found.add("norm_pre", STREAM)


def _block(name: str, block: nn.Module, stream: Site, found: _Found) -> Site:
    if isinstance(block, ExplicitParallelScalingBlock):
        return _scaling(name, block, stream, found)
    if isinstance(block, ExplicitParallelBlock):
        return _parallel(name, block, stream, found)
    plain = isinstance(block, ExplicitBlock)
    if plain:
        found.read(f"{name}.norm1", block.norm1, stream, Site(f"{name}.attn.qkv", INPUT, _role(block.norm1)))
    _attention(f"{name}.attn", block.attn, found)
    stream = _joined(name, "norm1", "add1", block, found)
    if plain and hasattr(block.mlp, "fc1"):
        found.read(f"{name}.norm2", block.norm2, stream, Site(f"{name}.mlp.fc1", INPUT, _role(block.norm2)))
    found.add(f"{name}.mlp.fc2", "branch")
    return _joined(name, "norm2", "add2", block, found)


def _role(norm: nn.Module) -> str:
    return "post_layernorm" if getattr(norm, "weight", None) is not None else "post_norm"


def _joined(name: str, norm: str, add: str, block: nn.Module, found: _Found) -> Site:
    if isinstance(block, ExplicitResPostBlock):
        found.add(f"{name}.{norm}", "branch")
    return found.add(f"{name}.{add}", STREAM)


def _parallel(name: str, block: ExplicitParallelBlock, stream: Site, found: _Found) -> Site:
    for index, part in enumerate(block.attns):
        _attention(f"{name}.attns.{index}.attn", part.attn, found)
    for index, _ in enumerate(block.attns):
        stream = found.add(f"{name}.attn_adds.{index}", STREAM)
    for index, _ in enumerate(block.ffns):
        found.add(f"{name}.ffns.{index}.mlp.fc2", "branch")
    for index, _ in enumerate(block.ffns):
        stream = found.add(f"{name}.ffn_adds.{index}", STREAM)
    return stream


def _scaling(name: str, block: nn.Module, stream: Site, found: _Found) -> Site:
    found.softmaxes[f"{name}.softmax"] = found.add(f"{name}.softmax", "softmax_input", INPUT)
    found.add(f"{name}.attn_out_proj", "branch")
    found.add(f"{name}.mlp_out_proj", "branch")
    found.add(f"{name}.add1", "branch")
    return found.add(f"{name}.add2", STREAM)


def _attention(name: str, attention: ExplicitAttention, found: _Found) -> None:
    qkv = found.add(f"{name}.qkv", "qkv")
    plain = isinstance(attention.q_norm, nn.Identity) and isinstance(attention.k_norm, nn.Identity)
    if plain:
        found.same[Site(f"{name}.matmul1", INPUT, "query")] = (qkv, 1.0)
        found.same[Site(f"{name}.matmul1", SECOND, "key")] = (qkv, 1.0)
    found.same[Site(f"{name}.matmul2", SECOND, "value")] = (qkv, 1.0)
    found.softmaxes[f"{name}.softmax"] = found.add(f"{name}.softmax", "softmax_input", INPUT)
    found.add(f"{name}.proj", "branch")


def _answer(module: VisionTransformer, stream: Site, classifiers: list[str], found: _Found) -> None:
    """The final norm and the logits. Of the class token alone the head's input is what the norm gives."""
    has_norm = not isinstance(module.norm, nn.Identity)
    if not classifiers:
        if has_norm:
            found.read("norm", module.norm, stream, found.add("norm", "answer"))
        return
    direct = module.global_pool == "token" and classifiers == ["head"]
    if direct and isinstance(module.fc_norm, nn.Identity) and module.head.in_features == module.embed_dim:
        found.read("norm", module.norm, stream, Site("head", INPUT, "features"))
    for name in classifiers:
        found.add(name, "answer")
