"""Does a model need all of its blocks? Each is left out in turn: its input goes on as its output.

    python -m tests.benchmarks.block_deletion --models demo-vit
    python -m tests.benchmarks.block_deletion --models cifar10-vit --data cifar10.zip

A block that can be left out for free flatters whatever gives bits by importance: its layers may get the
fewest bits and nothing is lost. Agreement with the whole model, accuracy and divergence are printed.
`--models` takes the folder of a model just trained as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.experiment.measure import Batches
from vitq_core.graph import family_of

from .cells import models_parser, save, source_of

RESULTS = Path(__file__).parents[2] / "docs" / "blocks.json"
BATCH = 100
FREE = 0.97  # agreement without a block from which on the block is called idle


def main(arguments: list[str] | None = None) -> None:
    options = models_parser(__doc__, ["demo-vit"], 500, RESULTS).parse_args(arguments)
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    for model_id in options.models:
        model = vq.load_model(model_id)
        samples = source_of(model, options.data).held_out(options.limit)
        images, labels = (torch.cat(part) for part in zip(*Batches(samples, model.preprocess), strict=True))
        found = without_each_block(model.module, images, labels)
        results[Path(model_id).name] = found
        print(f"{Path(model_id).name}, {found['n']} held-out pictures, top-1 {found['top1']:.1%}")
        print(table(found), flush=True)
    save(results, options.results)


def without_each_block(module: nn.Module, images: Tensor, labels: Tensor) -> dict:
    """Of images [N, C, H, W] with labels [N]: `n`, the whole model's `top1`, and under `blocks` for each what
    is left without it: `agreement` with the whole model, `top1` and the divergence `kl` in nats."""
    whole = log_probabilities(module, images)
    blocks = []
    for name in family_of(module).blocks(module):
        with left_out(module, name):
            without = log_probabilities(module, images)
        blocks.append(
            {
                "block": name,
                "agreement": share(without.argmax(1) == whole.argmax(1)),
                "top1": share(without.argmax(1) == labels),
                "kl": (whole.exp() * (whole - without)).sum(1).mean().item(),
            }
        )
    return {"n": len(images), "top1": share(whole.argmax(1) == labels), "blocks": blocks}


@contextmanager
def left_out(module: nn.Module, name: str) -> Iterator[None]:
    """`module` with the identity in place of its submodule `name`, which comes back afterwards."""
    parent, _, child = name.rpartition(".")
    owner, block = module.get_submodule(parent), module.get_submodule(name)
    setattr(owner, child, nn.Identity())
    try:
        yield
    finally:
        setattr(owner, child, block)


@torch.inference_mode()
def log_probabilities(module: nn.Module, images: Tensor) -> Tensor:
    """[N, classes]"""
    return torch.cat([module(part) for part in images.split(BATCH)]).log_softmax(1)


def share(hits: Tensor) -> float:
    return hits.float().mean().item()


def table(found: dict) -> str:
    """A row for every block, and below how many are idle."""
    rows = ["| without | agreement | top-1 | KL |", "|---|---|---|---|"]
    rows += [
        f"| `{row['block']}` | {row['agreement']:.1%} | {row['top1']:.1%} | {row['kl']:.3f} |"
        for row in found["blocks"]
    ]
    idle = sum(row["agreement"] >= FREE for row in found["blocks"])
    return "\n".join(
        [*rows, "", f"Blocks with an agreement of {FREE:.0%} or more: {idle} of {len(rows) - 2}."]
    )


def page(run: dict) -> str:
    """For each model what it answers without each of its blocks."""
    return "\n\n".join(
        f"**{model}**: top-1 {found['top1']:.1%} of {found['n']:,} held-out pictures\n\n{table(found)}"
        for model, found in sorted(run.items())
    )


if __name__ == "__main__":
    main()
