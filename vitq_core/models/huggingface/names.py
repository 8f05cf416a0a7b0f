"""The transformers library's names of tensors as timm's: those of its files, and of its newest modules."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from .config import Kind

_PARTS = {"q": 0, "k": 1, "v": 2, "gate": 0, "up": 1}  # of what timm keeps as one
_BASE = r"^(?:vit|deit|dinov2|swin)\."
_UNUSED = re.compile(r"^(pooler\.|embeddings\.mask_token$)|relative_position_index$")

_TOP = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.norm\.", "patch_embed.norm."),
    (r"^layernorm\.", "norm."),
    (r"^(?:cls_)?classifier\.", "head."),
    (r"^distillation_classifier\.", "head_dist."),
)  # fmt: skip
_BLOCK = (
    (r"attention\.(?:attention\.|self\.)?(?:query|q_proj)\.", "attn.qkv.q."),
    (r"attention\.(?:attention\.|self\.)?(?:key|k_proj)\.", "attn.qkv.k."),
    (r"attention\.(?:attention\.|self\.)?(?:value|v_proj)\.", "attn.qkv.v."),
    (r"attention\.(?:output\.dense|o_proj)\.", "attn.proj."),
    (r"attention\.\w+\.relative_position_bias_table$", "attn.relative_position_bias_table"),
    (r"intermediate\.dense\.", "mlp.fc1."),
    (r"output\.dense\.", "mlp.fc2."),
    (r"mlp\.gate_proj\.", "mlp.fc1.gate."),
    (r"mlp\.up_proj\.", "mlp.fc1.up."),
    (r"mlp\.weights_in\.", "mlp.fc1."),
    (r"mlp\.(?:weights_out|down_proj)\.", "mlp.fc2."),
    (r"mlp\.(fc[12])\.", r"mlp.\1."),
    (r"(?:layernorm_before|norm1)\.", "norm1."),
    (r"(?:layernorm_after|norm2)\.", "norm2."),
    (r"layer_scale([12])\.lambda1$", r"ls\1.gamma"),
)  # fmt: skip
_IN_BLOCK = re.compile(r"^(?:encoder\.)?layers?\.(\d+)\.(?:blocks\.(\d+)\.)?(.+)$")


def converted(tensors: Mapping[str, Tensor], kind: Kind) -> tuple[dict[str, Tensor], list[str]]:
    """`tensors` by timm's names, and which of them a classifier or feature model leaves out.

    What is known under neither keeps its own name.
    """
    plain = {re.sub(_BASE, "", name): value for name, value in tensors.items()}
    unused = [name for name in plain if _UNUSED.search(name)]
    found = {_timm_name(name, kind): value for name, value in plain.items() if name not in unused}
    return _joined(found), unused


def _timm_name(name: str, kind: Kind) -> str:
    if name == "embeddings.distillation_token":
        return kind.tokens
    for pattern, plain in _TOP:
        if re.search(pattern, name):
            own = re.sub(pattern, plain, name)
            return own.replace("head.", "head.fc.", 1) if kind.model_type == "swin" else own
    inside = _IN_BLOCK.match(name)
    return name if inside is None else _in_block(*inside.groups(), whole=name)


def _in_block(outer: str, inner: str | None, rest: str, whole: str) -> str:
    if rest.startswith("downsample."):
        return (
            f"layers.{int(outer) + 1}.{rest}"  # timm merges patches where a stage begins, not where one ends
        )
    block = f"blocks.{outer}." if inner is None else f"layers.{outer}.blocks.{inner}."
    for pattern, plain in _BLOCK:
        if re.match(pattern, rest):
            return block + re.sub(pattern, plain, rest, count=1)
    return whole


def _joined(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Queries, keys and values as one, and a gate with what it lets through; parts are left as they are where
    one is missing."""
    found, parts = {}, {}
    for name, value in tensors.items():
        owner, _, leaf = name.rpartition(".")
        base, _, part = owner.rpartition(".")
        if part in _PARTS and base.endswith((".qkv", ".fc1")):
            parts.setdefault((f"{base}.{leaf}", base.endswith(".qkv")), {})[_PARTS[part]] = (name, value)
        else:
            found[name] = value
    for (whole, three), pieces in parts.items():
        if len(pieces) == (3 if three else 2):
            found[whole] = torch.cat([pieces[index][1] for index in sorted(pieces)])
        else:
            found |= dict(pieces.values())
    return found
