"""What quantizing costs a model of features: cosines of its tokens with those in full precision.

    python -m tests.benchmarks.features --weights FILE.safetensors --data PICTURES.zip

``--weights``: of timm's ``vit_small_patch14_dinov2`` at 224 pixels without a head. Of the photographs in
``--data``, in the order of their names, every second one calibrates and the others judge.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

import vitq_core as vq
from vitq_core.pictures import PictureFolder

RESULTS = Path(__file__).parents[2] / "docs" / "features.json"
ARCHITECTURE, SIDE = "vit_small_patch14_dinov2", 224
WIDTHS = ((8, 8), (6, 6), (4, 4))
PICTURES = 32  # calibrate, and as many judge


def load(weights: str) -> vq.Model:
    """The tower in full precision, with its preprocessing."""
    module = timm.create_model(ARCHITECTURE, img_size=SIDE, num_classes=0)
    state = {name: tensor.float() for name, tensor in load_file(weights).items()}
    module.load_state_dict(state, strict=True)
    return vq.wrap_model(module.eval().requires_grad_(False))


def pictures_of(data: str, model: vq.Model) -> tuple[Tensor, Tensor]:
    """Two sets of [PICTURES, 3, SIDE, SIDE] that share none."""
    folder = PictureFolder(data, model.preprocess)
    chosen = [folder[index][0] for index in range(2 * PICTURES)]
    return torch.stack(chosen[0::2]), torch.stack(chosen[1::2])


@torch.no_grad()
def tokens_of(module: torch.nn.Module, images: Tensor) -> Tensor:
    """[N, tokens, D] after the last norm; the first is the class token."""
    return torch.cat([module.forward_features(chunk) for chunk in images.split(8)])


def cosines(tokens: Tensor, expected: Tensor) -> dict[str, float]:
    """Means and minima over pictures, and over a picture's patches."""
    found = functional.cosine_similarity(tokens.double(), expected.double(), dim=-1)
    return {
        "token_cosine": float(found[:, 1:].mean()),
        "token_min": float(found[:, 1:].min()),
        "class_cosine": float(found[:, 0].mean()),
        "class_min": float(found[:, 0].min()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--recipes", nargs="*", default=list(vq.RECIPES))
    arguments = parser.parse_args()
    model = load(arguments.weights)
    calibration, judged = pictures_of(arguments.data, model)
    expected, rows = tokens_of(model.module, judged), []
    for name in arguments.recipes:
        for weight_bits, act_bits in WIDTHS:
            rows.append(_row(model, name, weight_bits, act_bits, calibration, judged, expected))
            print(json.dumps(rows[-1]), flush=True)
            arguments.out.write_text(json.dumps(rows, indent=1) + "\n")


def _row(
    model: vq.Model,
    name: str,
    weight_bits: int,
    act_bits: int,
    calibration: Tensor,
    judged: Tensor,
    expected: Tensor,
) -> dict:
    about = {"recipe": name, "weight_bits": weight_bits, "act_bits": act_bits, "n": len(judged), "seed": 0}
    started = time.perf_counter()
    try:
        result = vq.quantize(model, calibration, vq.recipe(name, weight_bits, act_bits, effort="none"))
    except ValueError as error:  # the paper's policy has no bits above 8 to give
        return {**about, "refused": str(error)}
    seconds = time.perf_counter() - started
    return {**about, **cosines(tokens_of(result.model, judged), expected), "seconds": round(seconds, 1)}


if __name__ == "__main__":
    main()
