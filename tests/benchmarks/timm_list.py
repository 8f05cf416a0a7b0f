"""Whether every ViT, DeiT and Swin that timm names can be quantized, written to docs/timm_list.json.

    python -m tests.benchmarks.timm_list

Random weights, few blocks (`--blocks`, of a Swin in every stage), 4 × 4 patches, the smallest picture that a
Swin's windows fit, or a hybrid's own size; `minmax` at W8/A8: what is asked is whether every part is known
and every number is quantized, not how well a trained model keeps its answers. Beside them, as `OTHERS`, what
is built in another way. Names that are in the results are not tried again.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

import vitq_core as vq

from .cells import save
from .markdown import table

RESULTS = Path(__file__).parents[2] / "docs" / "timm_list.json"
ASKED = ("vision_transformer", "deit", "swin_transformer")  # timm's files of architectures
OTHERS = ("vision_transformer_hybrid", "vision_transformer_relpos", "swin_transformer_v2", "beit", "eva")
BLOCKS, PICTURES, CLASSES = 2, 4, 10
PATCHES, WINDOW, SWIN_SIDE = 4, 4, 64
ALIKE = 0.99  # the least cosine of logits that counts


def main() -> None:
    arguments = _options()
    found = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    for group in arguments.groups:
        for name in timm.list_models(module=group):
            if name not in found:
                found[name] = {"group": group, **tried(name, arguments.blocks)}
                save(found, arguments.results)
                print(name, found[name], flush=True)
    print(page(found))


def tried(name: str, blocks: int = BLOCKS) -> dict:
    """{"cosine"} of the least alike picture's logits, or {"refused": the sentence}, or {"failed": the error}.

    A model that cannot even be built from its own name is timm's failure, and is said to be.
    """
    torch.manual_seed(0)
    try:
        module = built(name, blocks)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        return {"failed": f"timm does not build it: {error}"}
    channels, height, width = 3, *_side(module)
    images = torch.randn(PICTURES, channels, height, width)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = vq.quantize(module, images, vq.recipe("minmax", 8, 8))
    except vq.VitqError as error:
        return {"refused": str(error)}
    except Exception as error:  # any other is a fault of ours, and is shown as one
        return {"failed": f"{type(error).__name__}: {error}"}
    with torch.no_grad():
        alike = cosine_similarity(result.model(images).flatten(1), module(images).flatten(1))
    return {"cosine": round(alike.min().item(), 5), "layers": len(result.bits)}


def built(name: str, blocks: int) -> nn.Module:
    """With random weights, few blocks and small pictures; LayerScale at 1, for its start of 1e-5 would hide
    what the blocks do."""
    with torch.device("meta"):
        outline = timm.create_model(name, num_classes=CLASSES)
    module = timm.create_model(name, num_classes=CLASSES, **_small(outline, blocks)).eval()
    for part_name, parameter in module.named_parameters():
        if part_name.endswith(".gamma"):
            nn.init.ones_(parameter)
    return module


def _small(outline: nn.Module, blocks: int) -> dict:
    """The arguments that make timm build a small model of the same kind of blocks."""
    if hasattr(outline, "layers"):
        depths = [min(blocks, len(layer.blocks)) for layer in outline.layers]
        return {"depths": depths, "img_size": SWIN_SIDE, "window_size": WINDOW}
    if hasattr(outline.patch_embed, "backbone"):  # of whose convolutions small pictures would leave nothing
        return {"depth": blocks}
    patch = outline.patch_embed.patch_size[0]
    return {"depth": blocks, "img_size": PATCHES * patch}


def _side(module: nn.Module) -> tuple[int, int]:
    return tuple(module.patch_embed.img_size)


def page(found: Mapping[str, Mapping]) -> str:
    """What share of the names asked for is quantized, and the sentences about all others."""
    asked = {name: row for name, row in found.items() if row["group"] in ASKED}
    good = [row for row in asked.values() if row.get("cosine", 0) >= ALIKE]
    least = min(row["cosine"] for row in good)
    said = (
        f"{len(good)} of the {len(asked)} ViT, DeiT and Swin names ({len(good) / len(asked):.1%}) of timm "
        f"are quantized and keep a cosine of {least:.3f} or more. The others, and architectures near them:"
    )
    reasons = Counter((row["group"], _reason(row)) for row in found.values())
    rows = ((group, f"{count:,}", reason) for (group, reason), count in sorted(reasons.items()))
    return f"{said}\n\n{table(['timm file', 'names', 'what comes of it'], rows)}"


def _reason(row: Mapping) -> str:
    if "cosine" in row:
        return "quantized" if row["cosine"] >= ALIKE else "quantized, but its answers differ"
    return row.get("refused") or row["failed"]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--groups", nargs="+", default=[*ASKED, *OTHERS], choices=[*ASKED, *OTHERS])
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
