"""LRP-QViT's policy: tables worked out by hand, averages that hold whatever the sizes."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import SwiGLU

import vitq_core as vq
from vitq_core.allocation.paper import paper_policy
from vitq_core.graph.prepared import prepare
from vitq_core.graph.site import Layer, Site

TYPES = ("attn.qkv", "attn.matmul1", "attn.matmul2", "attn.proj", "mlp.fc1", "mlp.fc2")
# Importance of a type's layer in blocks 0 to 5; a model of depth 4 has the first four.
SCORES = {
    "attn.qkv": [9, 5, 3, 1, 4, 2],
    "attn.matmul1": [1, 2, 3, 4, 5, 6],
    "attn.matmul2": [6, 5, 4, 3, 2, 1],
    "attn.proj": [1, 9, 2, 8, 3, 7],
    "mlp.fc1": [5, 5, 5, 5, 5, 5],  # of equals the first is lowered
    "mlp.fc2": [0, 3, 3, 0, 0, 0],
}
# (depth, K): what is added to the base, block by block, for each type in its order above.
EXPECTED = {
    (4, 1): ("+00-", "+-00", "+00-", "+0-0", "+-00", "+00-"),
    (5, 1): ("+00-0", "+-000", "+000-", "+0-00", "+-000", "+00-0"),
    (6, 1): ("+00-00", "+-0000", "+0000-", "+0-000", "+-0000", "+00-00"),
    (4, 2): ("++--",) * 6,
    (5, 2): ("++--0", "++--0", "++0--", "++-0-", "++--0", "++0--"),
    (6, 2): ("++0-0-", "++--00", "++00--", "++-0-0", "++--00", "++0--0"),
    # Too few are left to be lowered: raises are taken back, the least important first.
    (1, 1): ("0",) * 6,
    (2, 1): ("+-",) * 6,
    (2, 2): ("00",) * 6,
    (3, 2): ("+0-", "0+-", "+0-", "0+-", "0+-", "0+-"),
    (3, 3): ("000",) * 6,
    (6, 0): ("000000",) * 6,
}
SHIFT = {"+": 1, "0": 0, "-": -1}


def scores(depth: int) -> dict[str, float]:
    found = {"patch_embed.proj": 0.0, "head": 1e9}
    for kind, values in SCORES.items():
        found |= {f"blocks.{block}.{kind}": float(values[block]) for block in range(depth)}
    return found


def expected_table(shifts: tuple[str, ...], weight: int, act: int) -> dict[str, tuple[int | None, int]]:
    table: dict = {"patch_embed.proj": (weight, 8), "head": (weight, act)}
    for kind, row in zip(TYPES, shifts, strict=True):
        for block, sign in enumerate(row):
            by = SHIFT[sign]
            table[f"blocks.{block}.{kind}"] = (None if "matmul" in kind else weight + by, act + by)
    return table


def averages(table: dict, layers: dict[str, Layer]) -> tuple[float, float]:
    """Of the weights by parameters and of the inputs, but for the picture, by multiply-accumulates."""
    weights = [(bits[0], layers[name].params) for name, bits in table.items() if bits[0]]
    inputs = [
        (bits[1], layers[name].macs)
        for name, bits in table.items()
        for site in layers[name].inputs
        if site.role != "image"
    ]
    return tuple(sum(b * n for b, n in found) / sum(n for _, n in found) for found in (weights, inputs))


@pytest.fixture
def layers_of(tiny) -> Callable:
    def traced(depth: int) -> tuple:
        model = tiny(depth=depth)
        return model, prepare(model, "allocate_bits", None).layers

    return traced


# -- worked out by hand --------------------------------------------------------------------------------
@pytest.mark.parametrize(("depth", "first_blocks"), EXPECTED, ids=str)
def test_tables_are_those_worked_out_by_hand(tiny, depth: int, first_blocks: int) -> None:
    table = vq.allocate_bits(scores(depth), tiny(depth=depth), first_blocks=first_blocks)
    expected = expected_table(EXPECTED[depth, first_blocks], 4, 4)
    assert {name: table[name] for name in expected} == expected
    assert table.keys() == expected.keys()


def test_two_blocks_are_the_default_and_none_is_lowered_without_reductions(tiny) -> None:
    model = tiny(depth=5)
    assert vq.allocate_bits(scores(5), model) == expected_table(EXPECTED[5, 2], 4, 4)
    raised = vq.allocate_bits(scores(5), model, policy="paper", reductions=False)
    assert raised == expected_table(("++000",) * 6, 4, 4)
    one = vq.allocate_bits(scores(5), model, first_blocks=1, reductions=False)
    assert one == expected_table(("+0000",) * 6, 4, 4)


def test_a_model_of_one_block_takes_the_defaults(tiny) -> None:
    """Two first blocks are the default, not something the caller asked for."""
    assert vq.allocate_bits(scores(1), tiny(depth=1)) == expected_table(EXPECTED[1, 1], 4, 4)


@pytest.mark.parametrize(("base", "weight", "act"), [((4, 6), 4, 6), ((7, 3), 7, 3), (3, 3, 3), (7, 7, 7)])
def test_weights_and_activations_may_have_bases_of_their_own(tiny, base, weight: int, act: int) -> None:
    table = vq.allocate_bits(scores(6), tiny(depth=6), base_bits=base)
    assert table == expected_table(EXPECTED[6, 2], weight, act)


def test_the_order_of_the_scores_does_not_matter(tiny) -> None:
    model, forwards = tiny(depth=6), scores(6)
    backwards = dict(reversed(forwards.items()))
    assert vq.allocate_bits(backwards, model) == vq.allocate_bits(forwards, model)
    equal = dict.fromkeys(forwards, 0.0)
    assert vq.allocate_bits(equal, model) == expected_table(("++--00",) * 6, 4, 4)


def test_what_relevance_and_importance_return_will_do(tiny, pictures) -> None:
    model = tiny(depth=4)
    images = pictures(model)
    explained = vq.relevance(model, images)
    table = vq.allocate_bits(explained, model, first_blocks=1)
    assert table == vq.allocate_bits(explained.importance, model, first_blocks=1)
    assert table == vq.allocate_bits(explained.layer_scores, vq.wrap_model(model), first_blocks=1)
    lowered = {name for name, (_, act) in table.items() if act == 3}
    for kind in TYPES:
        rest = [f"blocks.{block}.{kind}" for block in (1, 2, 3)]
        assert lowered & set(rest) == {min(rest, key=explained.layer_scores.get)}


def test_layers_that_read_one_tensor_move_together(tiny) -> None:
    """Alone, one half would be lowered in the second block and the other in the third."""
    model = tiny(depth=3, mlp_layer=SwiGLU, act_layer="silu")
    found = dict.fromkeys(prepare(model, "allocate_bits", None).names, 5.0)
    found |= {"blocks.1.mlp.fc1_g": 1.0, "blocks.1.mlp.fc1_x": 9.0}
    found |= {"blocks.2.mlp.fc1_g": 2.0, "blocks.2.mlp.fc1_x": 3.0}
    table = vq.allocate_bits(found, model, first_blocks=1)
    for half in ("fc1_g", "fc1_x"):
        assert [table[f"blocks.{block}.mlp.{half}"] for block in range(3)] == [(5, 5), (4, 4), (3, 3)]


# -- averages ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("depth", "first_blocks"), [k for k in EXPECTED if k[0] > 3 or k[1] in (0, 3)], ids=str
)
@pytest.mark.parametrize("base", [4, (6, 3)])
def test_the_average_stays(layers_of, depth: int, first_blocks: int, base) -> None:
    model, layers = layers_of(depth)
    table = vq.allocate_bits(scores(depth), model, base_bits=base, first_blocks=first_blocks)
    weight, act = base if isinstance(base, tuple) else (base, base)
    assert averages(table, layers) == pytest.approx((weight, act), abs=1e-12)
    assert vq.table_cost(table, model).avg_weight_bits == pytest.approx(weight)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("first_blocks", [1, 2, 3])
def test_too_few_blocks_are_not_above_the_base(layers_of, depth: int, first_blocks: int) -> None:
    if first_blocks > depth:
        pytest.skip("more than there are")
    model, layers = layers_of(depth)
    table = vq.allocate_bits(scores(depth), model, first_blocks=first_blocks)
    assert max(averages(table, layers)) <= 4
    without = vq.allocate_bits(scores(depth), model, first_blocks=first_blocks, reductions=False)
    assert min(averages(without, layers)) > 4


def layer(name: str, params: int, macs: int) -> Layer:
    weight = (Site(name, "weight", "weight"),) if params else (Site(name, "input2", "key"),)
    return Layer(name, (Site(name, "input", "query"), *weight), params, macs)


def grown(sizes: list[tuple[int, int]]) -> tuple[dict[str, Layer], list[str]]:
    """Blocks of one linear and one matmul, of (parameters, multiply-accumulates) that differ."""
    layers = {}
    for block, (params, macs) in enumerate(sizes):
        for kind, count in (("fc", params), ("matmul", 0)):
            name = f"stages.{block}.{kind}"
            layers[name] = layer(name, count, macs)
    return layers, [f"stages.{block}" for block in range(len(sizes))]


sizes = st.tuples(st.integers(1, 50), st.integers(1, 50))


@settings(max_examples=200)
@given(st.lists(st.tuples(sizes, st.floats(0, 9)), min_size=1, max_size=8), st.integers(0, 8))
def test_whatever_the_sizes_no_type_is_above_the_base(blocks: list, first_blocks: int) -> None:
    """Swin's blocks grow in parameters while their multiply-accumulates shrink."""
    first_blocks = min(first_blocks, len(blocks))
    layers, names = grown([size for size, _ in blocks])
    importance = {name: blocks[int(name.split(".")[1])][1] for name in layers}
    table = paper_policy(importance, layers, names, (4, 5), first_blocks)
    for kind in ("fc", "matmul"):
        group = [(layers[f"{name}.{kind}"], table[f"{name}.{kind}"][1] - 5) for name in names]
        assert sum(shift * part.params for part, shift in group) <= 0
        assert sum(shift * part.macs for part, shift in group) <= 0
        shifts = [shift for _, shift in group]
        assert set(shifts[:first_blocks]) <= {0, 1} and set(shifts[first_blocks:]) <= {0, -1}
        rest = shifts[first_blocks:]
        assert rest.count(-1) >= min(first_blocks, len(rest))
        if 0 in shifts[:first_blocks]:
            assert 0 not in rest, "a raise is taken back only after all others were lowered"
        _least_important_first(importance, names, kind, shifts, first_blocks)
    for name, (weight, act) in table.items():
        assert weight == (None if "matmul" in name else act - 1)


def _least_important_first(scores: dict, names: list, kind: str, shifts: list, first_blocks: int) -> None:
    """Who lost a bit is no more important than who kept it, among the first and among the rest."""
    for part in (slice(None, first_blocks), slice(first_blocks, None)):
        found = [
            (scores[f"{name}.{kind}"], shift) for name, shift in zip(names[part], shifts[part], strict=True)
        ]
        best = max((shift for _, shift in found), default=0)
        lost = [score for score, shift in found if shift < best]
        kept = [score for score, shift in found if shift == best]
        assert not lost or not kept or max(lost) <= min(kept)


def test_growing_blocks_by_hand() -> None:
    """One raise of 9 takes back what 1, 2 and 3 give: not enough without the 4; by MACs more than enough."""
    layers, names = grown([(9, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1)])
    importance = {name: float(name.split(".")[1]) for name in layers}  # the earliest matters least
    table = paper_policy(importance, layers, names, (4, 4), 1)
    assert [table[f"{name}.fc"][0] for name in names] == [5, 3, 3, 3, 3, 4]
    assert [table[f"{name}.matmul"][1] for name in names] == [5, 3, 4, 4, 4, 4]


def test_without_reductions_nothing_is_balanced() -> None:
    layers, names = grown([(9, 1), (1, 9), (2, 2)])
    table = paper_policy(dict.fromkeys(layers, 1.0), layers, names, (4, 4), 2, reductions=False)
    assert [act for _, act in table.values()] == [5, 5, 5, 5, 4, 4]


def test_a_block_is_not_mistaken_for_one_whose_name_it_begins() -> None:
    """blocks.1 and blocks.10."""
    layers, names = grown([(1, 1)] * 12)
    importance = {name: float(name.split(".")[1]) for name in layers}
    table = paper_policy(importance, layers, names, (4, 4), 2)
    assert [table[f"{name}.fc"][1] for name in names] == [5, 5, 3, 3, *([4] * 8)]


# -- impossible settings -------------------------------------------------------------------------------
@pytest.mark.parametrize("value", [-1, 5, True, False, 1.5, 2.0, "2", (1,)])
def test_first_blocks_that_there_are_not_are_refused(tiny, value: object) -> None:
    with pytest.raises(
        ValueError, match=r"first_blocks must be a whole number from 0 to 4, .* got "
    ) as caught:
        vq.allocate_bits(scores(4), tiny(depth=4), first_blocks=value)
    assert str(caught.value).endswith(repr(value))


@pytest.mark.parametrize("base", [2, 8, (2, 4), (4, 8), (8, 2)])
def test_bases_without_room_up_and_down_are_refused(tiny, base) -> None:
    with pytest.raises(ValueError, match=r"base must be 3 to 7 bits, got [28]; policy='budget' has no such"):
        vq.allocate_bits(scores(4), tiny(depth=4), base_bits=base)


@pytest.mark.parametrize("base", [2, 8, (2, 8)])
def test_where_nothing_moves_any_base_will_do(tiny, base) -> None:
    table = vq.allocate_bits(scores(4), tiny(depth=4), base_bits=base, first_blocks=0)
    assert table == expected_table(("0000",) * 6, *(base if isinstance(base, tuple) else (base, base)))


WRONG = [
    0,
    1,
    9,
    -4,
    4.5,
    4.0,
    "4",
    True,
    float("nan"),
    (4,),
    (4, 5, 6),
    (4, None),
    (4, 4.5),
    ("4", 4),
    {4: 4},
]


@pytest.mark.parametrize("base", WRONG, ids=repr)
def test_bases_that_are_no_bits_are_a_sentence(tiny, base: object) -> None:
    """Also where nothing moves."""
    model = tiny()
    for first_blocks in (1, 0):
        with pytest.raises(ValueError, match="bits"):
            vq.allocate_bits(scores(1), model, base_bits=base, first_blocks=first_blocks)


@pytest.mark.parametrize("value", [1, 0, "no", 0.5])
def test_reductions_are_yes_or_no(tiny, value: object) -> None:
    with pytest.raises(ValueError, match="reductions must be True or False"):
        vq.allocate_bits(scores(4), tiny(depth=4), reductions=value)
