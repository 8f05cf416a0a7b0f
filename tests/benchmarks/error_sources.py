"""Where a quantized real ViT goes wrong: which blocks, which tokens and which channels carry the error.

    python -m tests.benchmarks.error_sources --weights FILE.safetensors --data PICTURES.zip

``--weights``, ``--data``: as of `features`. Every recipe of ``--recipes`` is calibrated on 32 photographs;
what each block gives for others is compared with full precision.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.common.hooks import hooked
from vitq_core.experiment.run import quantize_and_measure

from .cells import stacked
from .features import PICTURES, Bench, bits, parser, titled
from .markdown import table

RESULTS = Path(__file__).parents[2] / "docs" / "error_sources.json"
RECIPES = ("minmax", "repq", "adfq", "vitq")
LOUD = 0.01  # share of tokens, of channels, that are called loud: those of largest norm in full precision
CHUNK = 8


@dataclass(frozen=True)
class Loud:
    """Of a block's output in full precision: which tokens [pictures, tokens] and channels [D] are loud."""

    tokens: Tensor
    channels: Tensor

    @classmethod
    def of(cls, output: Tensor) -> Loud:
        """``output`` [pictures, tokens, D]."""
        squares = output.square()
        return cls(
            _largest(squares.sum(dim=2).flatten()).view(output.shape[:2]), _largest(squares.sum(dim=(0, 1)))
        )


def _largest(values: Tensor) -> Tensor:
    """Whether each of n values is among the largest: one in a hundred, at least one."""
    mask = torch.zeros(len(values), dtype=torch.bool)
    mask[values.topk(max(1, round(LOUD * len(values)))).indices] = True
    return mask


def sources(expected: Tensor, actual: Tensor) -> dict[str, float]:
    """Of a block's outputs [pictures, tokens, D], the class token first: squared error as a share of the
    squares, of all tokens, of class tokens and of loud ones; and how much of the squares and of the error
    lies in loud tokens and channels."""
    loud, error, size = Loud.of(expected), (actual - expected).square(), expected.square()
    return {
        "all": _share(error, size),
        "class_token": _share(error[:, 0], size[:, 0]),
        "loud_tokens": _share(error[loud.tokens], size[loud.tokens]),
        "size_in_loud_tokens": _share(size[loud.tokens], size),
        "error_in_loud_tokens": _share(error[loud.tokens], error),
        "size_in_loud_channels": _share(size[..., loud.channels], size),
        "error_in_loud_channels": _share(error[..., loud.channels], error),
    }


def _share(part: Tensor, whole: Tensor) -> float:
    return float(part.sum() / whole.sum())


def block_outputs(module: nn.Module, names: list[str], pictures: Tensor) -> dict[str, Tensor]:
    """{block: [pictures, tokens, D]}."""
    found: dict[str, list[Tensor]] = {name: [] for name in names}

    def keep(name: str, _: nn.Module, __: tuple, output: Tensor) -> None:
        found[name].append(output)

    hooks = [(module.get_submodule(name), partial(keep, name)) for name in names]
    with torch.no_grad(), hooked(*hooks):
        for chunk in pictures.split(CHUNK):
            module(chunk)
    return {name: torch.cat(outputs) for name, outputs in found.items()}


def main() -> None:
    options = parser(__doc__, RESULTS)
    options.set_defaults(recipes=RECIPES, widths=("4/4",), seeds=[0])
    arguments = options.parse_args()
    bench = Bench(arguments.weights, arguments.data)
    module, pictures = bench.model.module, stacked(bench.model, bench.reference.samples)
    names = [f"blocks.{index}" for index in range(len(module.blocks))]
    expected = block_outputs(module, names, pictures)
    found: dict = {"n": len(pictures), "seed": arguments.seeds[0], "loud": LOUD, "recipes": {}}
    for width in arguments.widths:
        for name in arguments.recipes:
            recipe = vq.recipe(name, *bits(width), effort="none")
            measured = quantize_and_measure(
                bench.model, bench.source, bench.reference, recipe, PICTURES, seed=found["seed"]
            )
            outputs = block_outputs(measured.result.model, names, pictures)
            rows = {block: sources(expected[block], outputs[block]) for block in names}
            found["recipes"].setdefault(width, {})[name] = rows
            print(width, name, json.dumps(rows[names[-1]]), flush=True)
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")


def page(run: dict) -> str:
    """For each width a row for every block: its error by each recipe, of all tokens / of class tokens; then
    where the error of the last block lies."""
    parts = []
    for width, recipes in run["recipes"].items():
        heads = [f"`{name}`" for name in recipes]
        blocks = next(iter(recipes.values()))
        errors = [
            [
                block,
                *(
                    f"{found[block]['all']:.1%} / {found[block]['class_token']:.1%}"
                    for found in recipes.values()
                ),
            ]
            for block in blocks
        ]
        last = list(blocks)[-1]
        shares = [
            [where.replace("_", " "), f"{blocks[last][f'size_in_{where}']:.0%}"]
            + [f"{found[last][f'error_in_{where}']:.0%}" for found in recipes.values()]
            for where in ("loud_tokens", "loud_channels")
        ]
        parts += [
            f"{titled(width)}:",
            table(["after", *heads], errors),
            f"After `{last}`, the loudest {run['loud']:.0%} have of the squares, and of each recipe's error:",
            table(["", "the squares themselves", *heads], shares),
        ]
    return "\n\n".join([*parts, f"Pictures judged: {run['n']}; seed {run['seed']}."])


if __name__ == "__main__":
    main()
