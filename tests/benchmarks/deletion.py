"""Deletion test: does relevance point at what the answer hangs on?

    python -m tests.benchmarks.deletion --models demo-vit
    python -m tests.benchmarks.deletion --models cifar10-vit --data cifar10.zip

Patches are painted over with the training pictures' mean colour, the most relevant first, and the probability
of the class first predicted is followed. The area between that curve and the one of random orders is printed,
in share of probability: 0 would mean that relevance knows nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

import vitq_core as vq

from .cells import models_parser, save, source_of, stacked
from .markdown import table

RESULTS = Path(__file__).parents[2] / "docs" / "deletion.json"
STEPS = 16
BATCH = 100
RANDOM_ORDERS = 3


def main() -> None:
    arguments = models_parser(__doc__, ["demo-vit"], 200, RESULTS).parse_args()
    results = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    for model_id in arguments.models:
        model = vq.load_model(model_id)
        images = stacked(model, source_of(model, arguments.data).held_out(arguments.limit))
        curves = deletion_curves(model, images)
        results[model_id] = {"n": len(images), "steps": STEPS, "areas": areas(curves)}
        save(results, arguments.results)
        report(model_id, curves, results[model_id]["areas"])


def deletion_curves(model: vq.Model, images: Tensor) -> dict[str, Tensor]:
    """{order: [N, STEPS + 1]}: probability of the predicted class with 0, 1/STEPS, … of the patches gone."""
    rel = vq.relevance(model, images, batch_size=16)
    grid = rel.heatmaps.shape[1:]
    heat = rel.heatmaps.flatten(1)
    pixels = F.adaptive_avg_pool2d(rel.pixel_maps[:, None], grid).flatten(1)
    random = torch.Generator().manual_seed(0)
    orders = {
        "heat map": heat.argsort(1, descending=True),
        "pixel map": pixels.argsort(1, descending=True),
        "least relevant first": heat.argsort(1),
    }
    for index in range(RANDOM_ORDERS):
        orders[f"random {index}"] = torch.rand(heat.shape, generator=random).argsort(1)
    curves = {name: curve(model, images, rel.targets, order, grid) for name, order in orders.items()}
    chance = [curves.pop(f"random {index}") for index in range(RANDOM_ORDERS)]
    return {**curves, "random": torch.stack(chance).mean(0)}


def curve(model: vq.Model, images: Tensor, targets: Tensor, order: Tensor, grid: tuple[int, int]) -> Tensor:
    patches = order.shape[1]
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(patches).expand_as(order))
    points = []
    for step in range(STEPS + 1):
        kept = (rank >= round(patches * step / STEPS)).float().reshape(-1, 1, *grid)
        mask = F.interpolate(kept, images.shape[2:], mode="nearest")
        points.append(probability(model, images * mask, targets))  # 0 is the mean colour
    return torch.stack(points, 1)


@torch.inference_mode()
def probability(model: vq.Model, images: Tensor, targets: Tensor) -> Tensor:
    logits = torch.cat([model.module(part) for part in images.split(BATCH)])
    return logits.softmax(1).gather(1, targets[:, None])[:, 0]


def areas(curves: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """{order: between its curve and that of random orders: the mean over the pictures, and 95 % of it}."""
    found = {name: (curves["random"] - points).mean(1) for name, points in curves.items() if name != "random"}
    return {
        name: {"area": float(area.mean()), "error": 1.96 * float(area.std()) / len(area) ** 0.5}
        for name, area in found.items()
    }


def report(model_id: str, curves: dict[str, Tensor], found: dict[str, dict[str, float]]) -> None:
    count = len(curves["random"])
    print(f"{model_id}, {count} pictures: probability of the prediction while patches are removed")
    for name, points in curves.items():
        shown = " ".join(f"{value:.2f}" for value in points.mean(0)[::2].tolist())
        print(f"  {name:<22} {shown}")
    for name, figures in found.items():
        print(f"  area between random and {name}: {figures['area']:+.3f} ± {figures['error']:.3f}")


def page(run: dict) -> str:
    """A row for every model."""
    models = sorted(run.items())
    orders = list(models[0][1]["areas"])
    rows = [[model, str(found["n"]), *map(_area, found["areas"].values())] for model, found in models]
    return table(["model", "pictures", *orders], rows)


def _area(found: Mapping[str, float]) -> str:
    return f"{found['area']:+.3f} ± {found['error']:.3f}".replace("-", "−")


if __name__ == "__main__":
    main()
