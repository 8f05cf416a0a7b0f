"""Do relevance maps tell classes apart? Two scenes side by side, asked for the class of each.

    python -m tests.benchmarks.side_by_side

Left is the middle of one scene, right the middle of another of a different class, both at the size the model
was trained on. A map is right if more of its positive relevance lies in the half that was asked for. Every
picture is asked for both classes: a map that takes no notice of the class is right in half of the questions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

import vitq_core as vq

from .cells import save, source_of, stacked
from .markdown import table

RESULTS = Path(__file__).parents[2] / "docs" / "side_by_side.json"
MAPS = {"heatmaps": "heat map", "pixel_maps": "pixel map"}
BEST = 5


def main() -> None:
    arguments = parse()
    model = vq.load_model(arguments.model)
    images, labels = pairs(model, arguments.pictures)
    found = [vq.relevance(model, images, targets=asked, batch_size=16) for asked in labels]
    seen = among_best(model, images, labels)
    print(f"{arguments.model}: the asked-for half holds more of the map, both classes asked, ± 95 %")
    results = {}
    for name, title in MAPS.items():
        right = hits(found, name)
        results[title] = {"all": share(right), "seen": share(right[seen])}
        every, among = (describe(**figures) for figures in results[title].values())
        print(f"  {title:<9} {every}; both classes among the {BEST} best: {among}")
    save({arguments.model: results}, arguments.results)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo-vit", help="one that was trained on scenes")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


def pairs(model: vq.Model, count: int) -> tuple[Tensor, Tensor]:
    """Pictures [count, 3, H, W] and the classes [2, count] of their halves: held-out scenes 2i and 2i + 1.

    Each twenty scenes show every class once, so the two are never of the same.
    """
    samples = source_of(model, None).held_out(2 * count)
    scenes, labels = stacked(model, samples), torch.tensor([sample.label for sample in samples])
    width = scenes.shape[3]
    middles = scenes[..., width // 4 : width // 4 + width // 2]
    return torch.cat([middles[0::2], middles[1::2]], 3), labels.reshape(count, 2).T


@torch.inference_mode()
def among_best(model: vq.Model, images: Tensor, labels: Tensor) -> Tensor:
    """[pictures]: are both classes among the model's best? What it does not see it cannot point at."""
    best = model.module(images).topk(BEST).indices
    return torch.stack([(best == asked[:, None]).any(1) for asked in labels]).all(0)


def hits(found: list[vq.Relevance], name: str) -> Tensor:
    """[pictures, 2]: does the asked half hold more, for the class on the left, on the right?"""
    shares = [_left_minus_right(getattr(rel, name)) for rel in found]
    return torch.stack([shares[0] > 0, shares[1] < 0], 1)


def _left_minus_right(maps: Tensor) -> Tensor:
    left, right = (part.clamp(min=0).flatten(1).sum(1) for part in maps.tensor_split(2, dim=2))
    return left - right


def share(right: Tensor) -> dict[str, float]:
    """Of questions, and 95 % of it over ``n`` pictures (the two questions of one are not independent)."""
    each = right.float().mean(1)
    return {"share": float(each.mean()), "error": 1.96 * float(each.std()) / len(each) ** 0.5, "n": len(each)}


def describe(share: float, error: float, n: int) -> str:
    return f"{share:.1%} ± {error:.1%} of {n} pictures"


def page(run: dict) -> str:
    """A row for every map of every model."""
    rows = [
        [model, name, *(describe(**figures) for figures in shares.values())]
        for model, maps in run.items()
        for name, shares in maps.items()
    ]
    return table(["model", "map", "all", f"both classes among the model's {BEST} best"], rows)


if __name__ == "__main__":
    main()
