"""Which Segment Anything a file's weights make: what their sizes tell, what a config.json adds."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from torch import Tensor

from ...common.errors import VitqError
from ...common.sam_shape import SamShape
from .published import PUBLISHED

ENCODER, TRANSFORMER = "image_encoder", "mask_decoder.transformer"
IOU_HEAD = "mask_decoder.iou_prediction_head.layers"
REQUIRED = tuple(item.name for item in fields(SamShape) if item.default is MISSING)
# No size of any weight shows how many heads share it; the published decoders have one width.
PUBLISHED_DECODER = {"prompt_dim": 256, "decoder_heads": 8}
Told = dict[str, Any]


def shape_of(tensors: Mapping[str, Tensor], given: Mapping[str, Any], name: str, source: str) -> SamShape:
    """The shape that `tensors` (a Sam's, by plain names) have; `given`, by `source`, adds what sizes do not
    tell.

    What neither tells is as in the published model of that width and depth. Raises VitqError, calling the
    file `name`, where `given` says something else than the sizes, and where something stays open.
    """
    try:
        told = told_by(tensors)
    except KeyError as error:
        raise VitqError(f"{name} lacks {error.args[0]}, which every Segment Anything has") from error
    except (IndexError, ZeroDivisionError) as error:
        raise VitqError(f"{name} has weights of sizes that no Segment Anything has") from error
    _check_agreement(told, given, name, source)
    known = {**told, **given}
    shape = {**_published_like(known), **known}
    missing = [field for field in (*REQUIRED, "decoder_heads") if field not in shape]
    if missing:
        raise VitqError(
            f"the sizes of the weights in {name} do not tell {' and '.join(missing)}; put a config.json "
            f'beside them: {{"architecture": "segment_anything", "shape": {{"{missing[0]}": …}}}}'
        )
    try:
        return SamShape.from_dict(shape)
    except TypeError as error:
        raise VitqError(f"{source} of {name} names what no Segment Anything has: {error}") from error


def told_by(tensors: Mapping[str, Tensor]) -> Told:
    """The fields of a SamShape that sizes tell. KeyError where weights are missing; IndexError or
    ZeroDivisionError for sizes that cannot be."""
    return {**_encoder(tensors), **_decoder(tensors)}


def _encoder(tensors: Mapping[str, Tensor]) -> Told:
    block, patches = f"{ENCODER}.blocks.0", tensors[f"{ENCODER}.patch_embed.proj.weight"]
    width, patch_size = patches.shape[0], patches.shape[-1]
    told = {
        "width": width,
        "depth": _count(tensors, f"{ENCODER}.blocks.{{}}.norm1.weight"),
        "patch_size": patch_size,
        "mlp_ratio": (tensors[f"{block}.mlp.lin1.weight"].shape[0] + 0.5) / width,  # it is truncated
        "qkv_bias": f"{block}.attn.qkv.bias" in tensors,
        "absolute_positions": f"{ENCODER}.pos_embed" in tensors,
        "relative_positions": f"{block}.attn.rel_pos_h" in tensors,
        "prompt_dim": tensors[f"{ENCODER}.neck.0.weight"].shape[0],
    }
    if told["absolute_positions"]:
        told["img_size"] = tensors[f"{ENCODER}.pos_embed"].shape[1] * patch_size
    if told["relative_positions"]:
        told["heads"] = width // tensors[f"{block}.attn.rel_pos_h"].shape[1]
    if told["absolute_positions"] and told["relative_positions"]:
        told |= _windows(tensors, told["depth"], tensors[f"{ENCODER}.pos_embed"].shape[1])
    return told


def _windows(tensors: Mapping[str, Tensor], depth: int, grid: int) -> Told:
    """2s - 1 relative positions belong to s patches a side: the whole grid, or a window.

    Nothing where all blocks see the whole grid: a window of that size is the same.
    """
    lengths = [len(tensors[f"{ENCODER}.blocks.{index}.attn.rel_pos_h"]) for index in range(depth)]
    sides = [(length + 1) // 2 for length in lengths]
    windows = sorted({*sides} - {grid})
    if not windows:
        return {}
    return {
        "global_blocks": tuple(index for index, side in enumerate(sides) if side == grid),
        "window": windows[0],
    }


def _decoder(tensors: Mapping[str, Tensor]) -> Told:
    layer, prompt_dim = f"{TRANSFORMER}.layers.0", tensors["prompt_encoder.no_mask_embed.weight"].shape[1]
    cross = tensors[f"{layer}.cross_attn_token_to_image.q_proj.weight"]
    told = {
        "mask_channels": tensors["prompt_encoder.mask_downscaling.3.weight"].shape[0],
        "decoder_depth": _count(tensors, f"{TRANSFORMER}.layers.{{}}.norm1.weight"),
        "decoder_mlp": tensors[f"{layer}.mlp.lin1.weight"].shape[0],
        "decoder_downsampling": prompt_dim // cross.shape[0],
        "candidates": tensors["mask_decoder.mask_tokens.weight"].shape[0] - 1,
        "iou_depth": _count(tensors, f"{IOU_HEAD}.{{}}.weight"),
    }
    if told["iou_depth"] > 1:  # a single layer has no inner width
        told["iou_width"] = tensors[f"{IOU_HEAD}.0.weight"].shape[0]
    return told


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """How many of the names `pattern` makes with 0, 1, 2, … there are in a row."""
    count = 0
    while pattern.format(count) in tensors:
        count += 1
    return count


def _check_agreement(told: Told, given: Mapping[str, Any], name: str, source: str) -> None:
    """`mlp_ratio` is compared with the weights themselves: many round to one width."""
    wrong = [field for field in told if field in given and field != "mlp_ratio"]
    wrong = [field for field in wrong if _plain(given[field]) != _plain(told[field])]
    if not wrong:
        return
    actual, expected = known_as(told), known_as({**told, **given})
    if actual != expected:
        raise VitqError(f"the weights of {name} are those of {actual}; {source} says {expected}")
    field = wrong[0]
    raise VitqError(
        f"the weights of {name} have {field} {_plain(told[field])}; {source} says "
        f"{_plain(given[field])!r:.80}"
    )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def known_as(known: Mapping[str, Any]) -> str:
    """The published model of that width and depth, or those in words."""
    item = next((item for item in PUBLISHED if _alike(item.shape, known)), None)
    return item.title if item else f"a Segment Anything of width {known['width']} and depth {known['depth']}"


def _alike(shape: SamShape, known: Mapping[str, Any]) -> bool:
    return (shape.width, shape.depth) == (known["width"], known["depth"])


def _published_like(known: Mapping[str, Any]) -> Told:
    """What the published model of that width and depth has, and what every published decoder has.

    Blocks that all see the whole grid have no windows.
    """
    item = next((item for item in PUBLISHED if _alike(item.shape, known)), None)
    everywhere = known["absolute_positions"] and known["relative_positions"]
    found = {"global_blocks": tuple(range(known["depth"]))} if everywhere else {}
    if item is not None and not everywhere:
        shape = item.shape
        found = {"heads": shape.heads, "global_blocks": shape.global_blocks, "window": shape.window}
    if known["prompt_dim"] == PUBLISHED_DECODER["prompt_dim"]:
        found["decoder_heads"] = PUBLISHED_DECODER["decoder_heads"]
    return found
