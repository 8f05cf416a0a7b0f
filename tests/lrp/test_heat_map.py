"""Transformer attribution against loops over pictures, blocks, heads and tokens."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vitq_core.graph import AttentionMaps
from vitq_core.graph.prepared import prepare
from vitq_core.lrp.heat_map import heat_map
from vitq_core.lrp.propagate import Propagated

CLASS_TOKEN = slice(0, 1)
CASES = {  # blocks, prefix, tokens of the answer, grid
    "class token": ((("a",), ("b",), ("c",)), 1, CLASS_TOKEN, (2, 3)),
    "registers": ((("a",), ("b",)), 4, CLASS_TOKEN, (2, 3)),
    "no class token": ((("a",), ("b",)), 0, slice(0, None), (3, 2)),
    "registers only": ((("a",), ("b",)), 2, slice(2, None), (2, 3)),
    "registers pooled too": ((("a",), ("b",)), 2, slice(0, None), (2, 3)),
    "class token, but pooled": ((("a",), ("b",)), 1, slice(1, None), (2, 2)),
    "one block": ((("a",),), 1, CLASS_TOKEN, (1, 4)),
    "side by side": ((("a", "b"), ("c", "d", "e")), 1, CLASS_TOKEN, (2, 2)),
}


def random_maps(blocks: tuple, tokens: int) -> Propagated:
    generator = torch.Generator().manual_seed(0)
    names = [name for block in blocks for name in block]
    draw = [
        {name: torch.randn(2, 3, tokens, tokens, generator=generator) for name in names} for _ in range(2)
    ]
    return Propagated(torch.zeros(2), draw[0], draw[1], 2)


def weighted(propagated: Propagated, block: tuple[str, ...], picture: int, i: int, j: int) -> float:
    """An entry of Ā: heads are averaged, attentions side by side add up."""
    entry = 1.0 if i == j else 0.0
    for name in block:
        gradient, relevance = propagated.gradients[name][picture], propagated.relevances[name][picture]
        heads = range(len(gradient))
        entry += sum(max(float(gradient[h, i, j] * relevance[h, i, j]), 0.0) for h in heads) / len(heads)
    return entry


def naive(propagated: Propagated, maps: AttentionMaps, picture: int) -> Tensor:
    tokens = range(maps.prefix + maps.grid[0] * maps.grid[1])
    product = [[float(i == j) for j in tokens] for i in tokens]
    for block in maps.blocks:
        a = [[weighted(propagated, block, picture, i, j) for j in tokens] for i in tokens]
        product = [[sum(a[i][k] * product[k][j] for k in tokens) for j in tokens] for i in tokens]
    read = list(tokens)[maps.answer]
    row = [sum(product[i][j] for i in read) / len(read) for j in tokens]
    return torch.tensor(row[maps.prefix :]).reshape(maps.grid)


@pytest.mark.parametrize("case", CASES)
def test_heat_map(case: str) -> None:
    maps = AttentionMaps(*CASES[case])
    propagated = random_maps(maps.blocks, maps.prefix + maps.grid[0] * maps.grid[1])
    found = heat_map(propagated, maps)
    assert found.shape == (2, *maps.grid)
    for picture in range(2):
        torch.testing.assert_close(found[picture], naive(propagated, maps, picture), rtol=1e-4, atol=1e-5)


def test_nothing_positive_leaves_nothing_but_the_identity() -> None:
    maps = AttentionMaps((("a",), ("b",)), 1, CLASS_TOKEN, (2, 2))
    zeros = {name: torch.zeros(1, 1, 5, 5) for name in "ab"}
    assert (heat_map(Propagated(torch.zeros(1), zeros, zeros, 1), maps) == 0).all()
    for answer, share in ((slice(0, None), 0.2), (slice(1, None), 0.25)):
        pooled = AttentionMaps((("a",), ("b",)), 1, answer, (2, 2))
        assert (heat_map(Propagated(torch.zeros(1), zeros, zeros, 1), pooled) == share).all()


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({}, slice(0, 1)),
        ({"reg_tokens": 2}, slice(0, 1)),
        ({"global_pool": "avg"}, slice(1, None)),
        ({"global_pool": "max", "reg_tokens": 2}, slice(3, None)),
        ({"global_pool": "avg", "class_token": False}, slice(0, None)),
        ({"global_pool": "avg", "class_token": False, "reg_tokens": 2}, slice(2, None)),
        ({"global_pool": "avg", "pool_include_prefix": True}, slice(0, None)),
        ({"global_pool": "map", "class_token": False, "reg_tokens": 2}, slice(2, None)),
    ],
)
def test_the_tokens_that_answer(tiny: Callable, options: dict, answer: slice) -> None:
    maps = prepare(tiny(**options), "relevance", None).maps
    tokens = range(maps.prefix + maps.grid[0] * maps.grid[1])
    assert tokens[maps.answer] == tokens[answer]
