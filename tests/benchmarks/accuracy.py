"""The README's accuracy table: every recipe at every width, measured on held-out pictures.

    python -m tests.benchmarks.accuracy --models demo-vit demo-vit-outliers
    python -m tests.benchmarks.accuracy --models cifar10-vit --data cifar10.zip   # or a folder
    python -m tests.benchmarks.accuracy --print                                   # the tables

Each cell is kept in ``--results`` as soon as it is measured; cells that are there are not measured again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

import vitq_core as vq

RESULTS = Path(__file__).parents[2] / "docs" / "accuracy.json"
WIDTHS = ((4, 4), (3, 3), (6, 6), (8, 8))
CALIBRATION_SCENES_SEED = 1000  # training drew its scenes with seed 1, held-out ones with seed 2
BATCH = 100


class Replay(nn.Module):
    """A reference whose outputs were computed once: gives them again, batch after batch."""

    def __init__(self, batches: list[Tensor]) -> None:
        super().__init__()
        self.batches = batches
        self.position = 0

    def forward(self, images: Tensor) -> Tensor:
        self.position += 1
        return self.batches[self.position - 1]


def main() -> None:
    fill(parse(), measure, markdown)


def parse() -> argparse.Namespace:
    parser = common_parser(__doc__, ["demo-vit", "demo-vit-outliers"], RESULTS)
    parser.add_argument("--recipes", nargs="+", default=list(vq.RECIPES))
    parser.add_argument("--widths", nargs="+", type=width, default=WIDTHS, help="4: W4/A4, 8/4: W8/A4")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="which calibration pictures")
    return parser.parse_args()


def common_parser(description: str, models: list[str], results: Path | None) -> argparse.ArgumentParser:
    """The options of every benchmark that fills a table."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=models)
    parser.add_argument("--calibration", type=int, default=32, help="calibration pictures")
    parser.add_argument(
        "--limit", type=int, default=None, help="held-out pictures (default: 2,000 scenes, all photos)"
    )
    parser.add_argument(
        "--data", help="folder or zip with train/ and test/, for models trained on photographs"
    )
    parser.add_argument("--results", type=Path, default=results)
    parser.add_argument("--print", action="store_true", help="only print what was measured")
    return parser


def fill(arguments: argparse.Namespace, measure: Callable, markdown: Callable) -> None:
    """``measure(model_id, arguments, results)`` what is missing, then print ``markdown(results)``."""
    results = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    for model_id in [] if arguments.print else arguments.models:
        measure(model_id, arguments, results)
    print(markdown(results))


def width(text: str) -> tuple[int, int]:
    """``"4"`` → (4, 4), ``"8/4"`` → (8, 4): weight and activation bits."""
    weight, _, act = text.partition("/")
    return int(weight), int(act or weight)


def measure(model_id: str, arguments: argparse.Namespace, results: dict) -> None:
    model = vq.load_model(model_id)
    loader, reference = in_float(model, model_id, arguments, results)
    cells = [(w, r, s) for w in arguments.widths for s in arguments.seeds for r in arguments.recipes]
    for bits, recipe, seed in cells:
        key = f"{recipe} W{bits[0]}/A{bits[1]} seed {seed}"
        if key not in results[model_id]:
            images = calibration(model_id, arguments.data, arguments.calibration, seed)
            results[model_id][key] = cell(model, images, loader, reference, recipe, bits)
            save(results, arguments.results)
            print(model_id, key, results[model_id][key], flush=True)


def in_float(
    model: vq.Model, model_id: str, arguments: argparse.Namespace, results: dict
) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor]]:
    """Held-out batches and the float model's logits for each; its accuracy goes into ``results``."""
    loader = held_out(model_id, arguments.data, arguments.limit)
    with torch.inference_mode():
        reference = [model.module(images) for images, _ in loader]
    base = vq.evaluate(Replay(reference), loader)
    results.setdefault(model_id, {})["float"] = {"top1": base.top1, "n": base.n}
    return loader, reference


def cell(
    model: vq.Model, images: Tensor, loader: list, reference: list[Tensor], recipe: str, bits: tuple[int, int]
) -> dict:
    result = vq.quantize(model, images, vq.recipe(recipe, *bits, effort="none"))
    measured = vq.evaluate(result.model, loader, Replay(reference))
    report = result.report
    return {
        "top1": measured.top1,
        "agreement": measured.agreement,
        "kl": measured.kl,
        "n": measured.n,
        "size_mb": report.size_mb,
        "fp32_size_mb": report.fp32_size_mb,
        "effective_act_bits": report.effective_act_bits,
    }


def save(results: dict, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, sort_keys=True))


@lru_cache(maxsize=2)
def held_out(model_id: str, data: str | None, limit: int | None) -> list[tuple[Tensor, Tensor]]:
    """Batches (images, labels), preprocessed once."""
    if data is None:
        from vitq_core.demo.scenes import HELD_OUT_SEED

        images, labels = scenes(model_id, limit or 2000, HELD_OUT_SEED)
    else:
        images, labels = photographs(model_id, data, "test", limit, seed=0)
    return list(zip(images.split(BATCH), labels.split(BATCH), strict=True))


def calibration(model_id: str, data: str | None, count: int, seed: int) -> Tensor:
    if data is None:
        return scenes(model_id, count, CALIBRATION_SCENES_SEED + seed)[0]
    return photographs(model_id, data, "train", count, seed)[0]


@lru_cache(maxsize=4)
def scenes(model_id: str, count: int, seed: int) -> tuple[Tensor, Tensor]:
    from vitq_core.demo.scenes import scene_batch

    preprocessing = vq.load_model(model_id).preprocessing
    images, labels = scene_batch(range(count), seed, preprocessing.size)
    mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    return (images - mean) / std, labels


@lru_cache(maxsize=4)
def photographs(model_id: str, data: str, split: str, limit: int | None, seed: int) -> tuple[Tensor, Tensor]:
    from vitq_core.pictures import PictureFolder

    model = vq.load_model(model_id)
    folder = PictureFolder(data, model.preprocess, limit=limit, seed=seed, split=split, labels=model.labels)
    images, labels = zip(*folder.loader(500), strict=True)
    return torch.cat(images), torch.cat(labels)


def markdown(results: dict) -> str:
    """One table a model: top-1, agreement with the float model, size; mean ± deviation over seeds."""
    return "\n\n".join(table(model_id, cells) for model_id, cells in sorted(results.items()))


def table(model_id: str, cells: dict) -> str:
    widths = sorted({w for w, _ in WIDTHS}, reverse=True)
    base = cells["float"]
    lines = [
        f"**{model_id}**: full precision {base['top1']:.1%} of {base['n']:,} held-out pictures",
        "",
        "| recipe | " + " | ".join(f"W{w}/A{w}" for w in widths) + " |",
        "|---|" + "---|" * len(widths),
    ]
    for recipe in vq.RECIPES:
        row = [
            describe([c for key, c in cells.items() if key.startswith(f"{recipe} W{w}/A{w} ")])
            for w in widths
        ]
        if any(row):
            lines.append(f"| `{recipe}` | " + " | ".join(row) + " |")
    sizes = [next((c["size_mb"] for key, c in cells.items() if f" W{w}/A" in key), None) for w in widths]
    full = next(c["fp32_size_mb"] for key, c in cells.items() if key != "float")
    shown = " | ".join("" if size is None else f"{size:.2f}" for size in sizes)
    return "\n".join([*lines, f"| size, MB (float {full:.1f}) | {shown} |"])


def describe(cells: list[dict]) -> str:
    """``top-1 (agreement)`` in percent, with the deviation over calibration sets where there are several."""
    if not cells:
        return ""
    top1 = [100 * cell["top1"] for cell in cells]
    agreement = statistics.mean(100 * cell["agreement"] for cell in cells)
    deviation = f" ± {statistics.stdev(top1):.1f}" if len(top1) > 1 else ""
    return f"{statistics.mean(top1):.1f}{deviation} ({agreement:.1f})"


if __name__ == "__main__":
    main()
