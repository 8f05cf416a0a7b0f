"""What quantizing costs a model of features: cosines of its tokens with those in full precision.

    python -m tests.benchmarks.features --weights FILE.safetensors --data PICTURES.zip

``--weights``: of timm's ``vit_small_patch14_dinov2`` at 224 pixels without a head. ``--data``: a folder or
zip of photographs.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path

import timm
from safetensors.torch import load_file

import vitq_core as vq
from vitq_core.experiment.measure import cosines_of
from vitq_core.experiment.run import Reference, quantize_and_measure, refer
from vitq_core.experiment.samples import Sample
from vitq_core.pictures import PictureFolder

from .cells import samples_of

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


class EveryOther:
    """Of the photographs of a folder or zip, in the order of their names: one calibrates, the next judges."""

    def __init__(self, data: str, model: vq.Model) -> None:
        self.samples = samples_of(PictureFolder(data, model.preprocess))

    def calibration(self, count: int, seed: int) -> list[Sample]:
        return self.samples[0 : 2 * count : 2]

    def held_out(self, count: int) -> list[Sample]:
        return self.samples[1 : 2 * count : 2]


def main() -> None:
    arguments = parse()
    model = load(arguments.weights)
    source = EveryOther(arguments.data, model)
    reference, rows = refer(model, source, PICTURES), []
    for name, width in product(arguments.recipes, WIDTHS):
        rows.append(row(model, source, reference, name, width))
        print(json.dumps(rows[-1]), flush=True)
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--recipes", nargs="*", default=list(vq.RECIPES))
    return parser.parse_args()


def row(model: vq.Model, source: EveryOther, reference: Reference, name: str, width: tuple[int, int]) -> dict:
    """Means and minima over pictures, and over a picture's patches; this tower pools its class token."""
    about = {"recipe": name, "weight_bits": width[0], "act_bits": width[1], "n": PICTURES, "seed": 0}
    try:
        recipe = vq.recipe(name, *width, effort="none")
        found = quantize_and_measure(model, source, reference, recipe, PICTURES)
    except ValueError as error:  # the paper's policy has no bits above 8 to give
        return {**about, "refused": str(error)}
    return {
        **about,
        "token_cosine": found.evaluation.token_cosine,
        "token_min": found.evaluation.min_cosine,
        "class_cosine": found.evaluation.class_token_cosine,
        "class_min": float(cosines_of(found.logits, reference.logits).min()),
        "seconds": round(found.result.report.seconds, 1),
    }


if __name__ == "__main__":
    main()
