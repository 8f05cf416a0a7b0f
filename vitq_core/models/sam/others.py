"""Telling a file of Segment Anything's weights from those of its relatives."""

from collections.abc import Collection, Iterable

from torch import Tensor

from ...common.errors import VitqError

ENCODER = "image_encoder."
PARTS = (ENCODER, "prompt_encoder.", "mask_decoder.")
TAKES = "what can be loaded is the first Segment Anything: sam_vit_b_01ec64.pth, vit_l, vit_h and their like"

# (parts of names that only this relative has, what it is)
RELATIVES = (
    (("image_encoder.trunk.", "sam_mask_decoder.", "memory_encoder."), "SAM 2, another architecture"),
    (("detector.backbone.vision_backbone.",), "SAM 3, another architecture"),
    (
        ("mask_decoder.hf_token", "compress_vit_feat.", "embedding_encoder.", "embedding_maskfeature."),
        "HQ-SAM, whose mask decoder has more parts",
    ),
    (
        ("image_encoder.patch_embed.seq.", "image_encoder.layers."),
        "MobileSAM, whose image encoder is a TinyViT",
    ),
    (
        ("shared_image_embedding.", "vision_encoder.neck."),
        "Segment Anything as the transformers library stores it",
    ),
)


def is_sam_name(name: str) -> bool:
    """Whether a tensor called `name` is one of Segment Anything's or of its relatives'."""
    marks = (*PARTS, *(mark for marks, _ in RELATIVES for mark in marks))
    return any(mark in name for mark in marks)


def plain_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without what a program put before every name, as `module.` and `sam.`; as given where it is not one."""
    prefixes = {key[: key.index(ENCODER)] for key in tensors if ENCODER in key}
    prefix = prefixes.pop() if len(prefixes) == 1 else ""
    if not all(key.startswith(prefix) for key in tensors):
        return tensors
    return {key.removeprefix(prefix): value for key, value in tensors.items()}


def refuse_relatives(names: Collection[str], name: str) -> None:
    """VitqError, calling the file `name`, for weights that are not a Segment Anything's."""
    relative = next((what for marks, what in RELATIVES if _any_in(marks, names)), None)
    if relative is not None:
        raise VitqError(f"{name} holds {relative}; {TAKES}")
    missing = [part.rstrip(".") for part in PARTS if not any(key.startswith(part) for key in names)]
    if missing:
        some = ", ".join(sorted(names)[:2])
        raise VitqError(
            f"{name} holds no Segment Anything: it has no {' and no '.join(missing)} but {some}; {TAKES}"
        )
    if "image_encoder.blocks.0.attn.qkv.weight" not in names:
        raise VitqError(f"{name} holds another image encoder than Segment Anything's transformer; {TAKES}")


def _any_in(marks: Iterable[str], names: Collection[str]) -> bool:
    return any(mark in key for mark in marks for key in names)
