"""Calibrated on real pictures, on pictures made from noise (PSAQ-ViT) and on the noise itself.

    python -m tests.benchmarks.data_free --models cifar10-vit --data cifar10.zip
    python -m tests.benchmarks.data_free --print                                   # the tables

Calibrated alone, nothing learned; judged on real held-out pictures. `--made FOLDER` keeps the pictures that
were made, so that they are not made again.
"""

from __future__ import annotations

import argparse
import time
from functools import cache, partial
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

import vitq_core as vq
from vitq_core.experiment.generated import ITERATIONS
from vitq_core.experiment.measure import Batches, Replay

from .cells import Bench, Cells, fill, parser_of, top1_of, width

RESULTS = Path(__file__).parents[2] / "docs" / "data_free.json"
RECIPES = ("minmax", "repq", "vitq")
WIDTHS = ((8, 8), (6, 6), (4, 4))
KINDS = {"noise": "Gaussian noise", "made": "made from noise", "real": "real pictures"}


def main() -> None:
    fill(parse(), cells, page)


def parse() -> argparse.Namespace:
    parser = parser_of(__doc__, ["cifar10-vit"], RESULTS)
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--widths", nargs="+", type=width, default=WIDTHS, help="4: W4/A4, 8/4: W8/A4")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], help="of all three kinds of pictures")
    parser.add_argument("--iterations", type=int, default=ITERATIONS, help="in each of the two passes")
    parser.add_argument("--made", type=Path, help="folder that keeps the pictures made")
    return parser.parse_args()


def cells(bench: Bench, arguments: argparse.Namespace) -> Cells:
    @cache
    def images(kind: str, seed: int) -> Tensor:
        if kind == "real":
            return bench.images(seed)
        if kind == "made":
            return made(bench.model, bench.count, seed, arguments.iterations, arguments.made)
        shape = (bench.count, 3, *bench.model.preprocessing.size)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    def measured(name: str, bits: tuple[int, int], kind: str, seed: int) -> dict:
        recipe = vq.recipe(name, *bits, effort="none")
        result = vq.quantize(bench.model, images(kind, seed), recipe, seed=seed)
        pictures = Batches(bench.reference.samples, bench.model.preprocess)
        found = vq.evaluate(result.model, pictures, Replay(bench.reference.logits))
        return {each: found[each] for each in ("top1", "n", "agreement", "kl")} | {
            "pictures": bench.count,
            **({"iterations": arguments.iterations} if kind == "made" else {}),
        }

    runs = product(arguments.recipes, arguments.widths, arguments.seeds, KINDS)
    for name, bits, seed, kind in runs:
        yield f"{name} W{bits[0]}/A{bits[1]} {kind} seed {seed}", partial(measured, name, bits, kind, seed)


def made(model: vq.Model, count: int, seed: int, iterations: int, folder: Path | None) -> Tensor:
    """[count, 3, H, W]; those in `folder`, where they are there."""
    path = folder and folder / f"{model.info.id}-{count}-{seed}-{iterations}.pt"
    if path and path.exists():
        return torch.load(path)
    begin = time.process_time()
    images = vq.generate_images(model, count, seed, iterations)
    print(f"{count} pictures made in {time.process_time() - begin:.0f} s of processor time", flush=True)
    if path:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(images, path)
    return images


def page(results: dict) -> str:
    """One table a model: top-1 of each kind of pictures, mean ± deviation over the seeds."""
    return "\n\n".join(table(model_id, found) for model_id, found in sorted(results.items()))


def table(model_id: str, found: dict) -> str:
    base = found["float"]
    lines = [
        f"**{model_id}**: full precision {base['top1']:.1%} of {base['n']:,} held-out pictures",
        "",
        "| recipe | bits | " + " | ".join(KINDS.values()) + " |",
        "|---|---|" + "---|" * len(KINDS),
    ]
    rows = dict.fromkeys(tuple(key.split()[:2]) for key in found if key != "float")
    for recipe, bits in sorted(rows, key=lambda row: (row[0], -int(row[1][1]))):
        shown = [top1_of(found, f"{recipe} {bits} {kind} ") for kind in KINDS]
        lines.append(f"| `{recipe}` | {bits} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
