"""What a Swin computes with between its layers: FQ-ViT's points (arXiv 2111.13824) and those of its code."""

from __future__ import annotations

from timm.models.swin_transformer import PatchMerging, SwinTransformer
from torch import nn

from ..listing import norm_role
from ..site import INPUT, OUTPUT, SECOND, STREAM, Between, ReadNorm, Site

MERGED = 4  # patches side by side


def listed(module: SwinTransformer, parts: list[tuple[str, nn.Module]], classifiers: list[str]) -> Between:
    """``parts``: (name, block or patch merging) in forward order; ``classifiers``: what makes the answer."""
    sites: list[Site] = []
    same: dict[Site, tuple[Site, float]] = {}
    norms: list[ReadNorm] = []
    softmaxes: dict[str, Site] = {}
    stream = _embedding(module, sites, norms)
    for name, part in parts:
        if isinstance(part, PatchMerging):
            target = Site(f"{name}.reduction", INPUT, norm_role(part.norm))
            norms += _read(f"{name}.norm", part.norm, stream, target, MERGED)
            stream = Site(f"{name}.reduction", OUTPUT, STREAM)
            sites.append(stream)
            continue
        between, entry = _attention(f"{name}.attn", part.attn, same, softmaxes), stream
        stream = Site(f"{name}.add1", OUTPUT, STREAM)
        last = Site(f"{name}.add2", OUTPUT, STREAM)
        sites += [*between, stream, Site(f"{name}.mlp.fc2", OUTPUT, "branch"), last]
        target = Site(f"{name}.attn.qkv", INPUT, norm_role(part.norm1))
        norms += _read(f"{name}.norm1", part.norm1, entry, target)
        target = Site(f"{name}.mlp.fc1", INPUT, norm_role(part.norm2))
        norms += _read(f"{name}.norm2", part.norm2, stream, target)
        stream = last
    answer = Site("norm", OUTPUT, "norm_output")
    norms += _read("norm", module.norm, stream, answer)
    sites += [answer, *(Site(name, OUTPUT, "answer") for name in classifiers)]
    return Between(tuple(sites), same, tuple(norms), softmaxes)


def _embedding(module: SwinTransformer, sites: list[Site], norms: list[ReadNorm]) -> Site:
    """The site that the first block reads."""
    norm = module.patch_embed.norm
    if isinstance(norm, nn.Identity):
        sites.append(Site("patch_embed", OUTPUT, STREAM))
        return sites[-1]
    before = Site("patch_embed.norm", INPUT, STREAM)
    after = Site("patch_embed", OUTPUT, STREAM)
    sites += [before, after]
    return after


def _read(norm: str, module: nn.Module, source: Site, target: Site, repeats: int = 1) -> list[ReadNorm]:
    return [ReadNorm(norm, source, target, repeats)] if isinstance(module, nn.LayerNorm) else []


def _attention(
    name: str, attention: nn.Module, same: dict[Site, tuple[Site, float]], softmaxes: dict[str, Site]
) -> list[Site]:
    qkv = Site(f"{name}.qkv", OUTPUT, "qkv")
    same[Site(f"{name}.matmul1", INPUT, "query")] = (qkv, attention.scale)
    same[Site(f"{name}.matmul1", SECOND, "key")] = (qkv, 1.0)
    same[Site(f"{name}.matmul2", SECOND, "value")] = (qkv, 1.0)
    softmaxes[f"{name}.softmax"] = Site(f"{name}.add_bias", OUTPUT, "softmax_input")
    return [
        qkv,
        Site(f"{name}.matmul1", OUTPUT, "scores"),
        Site(f"{name}.add_bias", SECOND, "position_bias"),
        softmaxes[f"{name}.softmax"],
        Site(f"{name}.proj", OUTPUT, "branch"),
    ]
