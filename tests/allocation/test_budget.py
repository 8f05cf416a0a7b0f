"""The budget policy: an exact program against trying every table, budgets that cannot be met."""

import re
from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.pairs import in_turn
from vitq_core.allocation.budget import BITS, Budget, budget_policy
from vitq_core.graph.site import Layer, Site
from vitq_core.quantized.output_error import LayerError
from vitq_core.quantized.packing import packed_bytes

KINDS = ("avg_weight_bits", "avg_act_bits", "size_mb", "gbops")


def layer(name: str, params: int, macs: int) -> Layer:
    second = Site(name, "weight", "weight") if params else Site(name, "input2", "key")
    return Layer(name, (Site(name, "input", "query"), second), params, macs)


def choices(part: Layer) -> list[tuple[int | None, int]]:
    return [(weight, act) for weight in (BITS if part.params else (None,)) for act in BITS]


class Instance:
    """Layers with errors and importance, and what their tables cost and lose: all of them at once."""

    def __init__(
        self, sizes: list[tuple[int, int]], seed: int, other_bytes: int = 0, shared: bool = False
    ) -> None:
        self.layers = {f"l{i}": layer(f"l{i}", *size) for i, size in enumerate(sizes)}
        self.other_bytes = other_bytes
        self.shared = [("l0", "l1")] if shared else []  # they read one tensor
        random = np.random.default_rng(seed)
        self.errors = {
            name: LayerError(_errors(random), _errors(random) if part.params else {}, 2)
            for name, part in self.layers.items()
        }
        self.omega = dict(zip(self.layers, random.dirichlet(np.ones(len(sizes))), strict=True))

    def solve(self, **limits: float) -> dict:
        given = self.omega, self.errors, self.layers, Budget(**limits), self.other_bytes
        return budget_policy(*given, self.shared)

    def loss(self, name: str, bits: tuple[int | None, int]) -> float:
        weight, act = bits
        error = self.errors[name]
        parts = [error.act[act], *([] if weight is None else [error.weight[weight]])]
        return self.omega[name] * sum(float(part.mean()) for part in parts)

    def units(self) -> dict[str, float]:
        parts = self.layers.values()
        return {
            "avg_weight_bits": max(sum(part.params for part in parts), 1),
            "avg_act_bits": sum(part.macs * len(part.inputs) for part in parts),
            "size_mb": 1e6,
            "gbops": 1e9,
        }

    def cost(self, kind: str, name: str, bits: tuple[int | None, int]) -> int:
        part, (weight, act) = self.layers[name], bits
        return {
            "avg_weight_bits": part.params * (weight or 0),
            "avg_act_bits": part.macs * len(part.inputs) * act,
            "size_mb": packed_bytes(part.params, weight) if weight else 0,
            "gbops": part.macs * act * (act if weight is None else weight),
        }[kind]

    def total(self, kind: str, table: dict) -> float:
        constant = self.other_bytes if kind == "size_mb" else 0
        return (constant + sum(self.cost(kind, *row) for row in table.items())) / self.units()[kind]

    def every(self, of) -> np.ndarray:
        """Sums over layers for every table there is."""
        rows = [np.array([of(name, bits) for bits in choices(part)]) for name, part in self.layers.items()]
        return reduce(np.add.outer, rows).ravel()

    def best(self, limits: dict[str, float], slack: float) -> float:
        """The least loss of all tables within the limits."""
        fits = np.array(True)
        for pair in self.shared:
            sign = dict(zip(pair, (1, -1), strict=True))
            fits = self.every(lambda name, bits, sign=sign: sign.get(name, 0) * bits[1]) == 0
        for kind, limit in limits.items():
            constant = self.other_bytes if kind == "size_mb" else 0
            costs = self.every(lambda name, bits, kind=kind: self.cost(kind, name, bits)) + constant
            fits = fits & (costs <= limit * self.units()[kind] * (1 + slack))
        losses = self.every(self.loss)
        return float(losses[np.broadcast_to(fits, losses.shape)].min(initial=np.inf))

    def extreme(self, kind: str, bits: int) -> float:
        return self.total(kind, {n: (bits if part.params else None, bits) for n, part in self.layers.items()})


def _errors(random: np.random.Generator) -> dict[int, torch.Tensor]:
    """Falling fourfold a bit, but not smoothly, and different from picture to picture."""
    size = 10 ** random.uniform(-3, 1)
    return {bits: torch.tensor(size * 4.0**-bits * random.uniform(0.4, 2.0, 3)) for bits in BITS}


sizes = st.tuples(st.integers(0, 300) | st.just(0), st.integers(1, 300))
large = st.tuples(st.integers(10**5, 10**8), st.integers(10**5, 10**8))
instances = st.builds(
    Instance,
    st.lists(sizes, min_size=2, max_size=3) | st.lists(large, min_size=2, max_size=2),
    st.integers(0, 2**32),
    st.integers(0, 500),
    st.booleans(),
)
shares = st.dictionaries(st.sampled_from(KINDS), st.floats(0, 1), min_size=1, max_size=4)


@settings(max_examples=40)
@given(instances, shares)
def test_the_best_of_all_tables_within_the_budgets(instance: Instance, shares: dict[str, float]) -> None:
    """``shares``: how far each budget is from 2 bits everywhere to 8 bits everywhere."""
    limits = {}
    for kind, share in shares.items():
        low, high = instance.extreme(kind, 2), instance.extreme(kind, 8)
        limits[kind] = low + share * (high - low)
    assume(all(limit > 0 for limit in limits.values()))
    table = instance.solve(**limits)
    assert {name: (bits[0] is None) for name, bits in table.items()} == {
        name: part.params == 0 for name, part in instance.layers.items()
    }
    for first, other in instance.shared:
        assert table[first][1] == table[other][1]
    for kind, limit in limits.items():
        assert instance.total(kind, table) <= limit * (1 + 1e-9)
    found = sum(instance.loss(name, bits) for name, bits in table.items())
    assert found <= instance.best(limits, 0.0) * (1 + 1e-6) + 1e-12
    assert found >= instance.best(limits, 1e-9) * (1 - 1e-6) - 1e-12


@settings(max_examples=40)
@given(instances, st.sampled_from(KINDS), st.floats(0.01, 0.999))
def test_the_nearest_budget_that_can_be_met_is_named_and_works(
    instance: Instance, kind: str, share: float
) -> None:
    least = instance.extreme(kind, 2)
    assume(least > 0)
    with pytest.raises(ValueError, match=rf"^{kind}=.* cannot be met: .* nearest possible") as caught:
        instance.solve(**{kind: least * share})
    named = nearest(caught)
    assert named >= least * (1 - 1e-12)
    assert named <= least + 2e-4 + 1e-3 * least, "no more is asked than is needed"
    assert instance.total(kind, instance.solve(**{kind: named})) <= named


def nearest(caught: pytest.ExceptionInfo) -> float:
    return float(re.search(r"comes to ([-+0-9.e]+)", str(caught.value))[1])


@pytest.mark.parametrize("params", [493_817_372, 1_234_567_890, 45_678_901_234])
def test_also_of_models_whose_size_has_many_digits(params: int) -> None:
    instance = Instance([(params, 10**9), (0, 10**9)], seed=0)
    for kind, limit in (("size_mb", 1.0), ("gbops", 1.0)):
        with pytest.raises(ValueError, match="cannot be met") as caught:
            instance.solve(**{kind: limit})
        assert instance.total(kind, instance.solve(**{kind: nearest(caught)})) <= nearest(caught)


@pytest.mark.parametrize(
    "limits", [{"size_mb": 1e-9, "gbops": 9.0}, {"avg_act_bits": 1, "avg_weight_bits": 4}]
)
def test_one_that_cannot_be_met_is_named_among_several(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"^{min(limits, key=limits.get)}="):
        Instance([(64, 64), (0, 64)], seed=1).solve(**limits)


@pytest.mark.parametrize(
    ("kind", "limit"), in_turn(KINDS, [1e3, 1e30, 1.7e308, 10**400], times=2), ids="{!s:.7}".format
)
def test_budgets_far_above_the_maximum_give_what_is_best(kind: str, limit: float) -> None:
    instance = Instance([(64, 640), (0, 20), (96, 960)], seed=2)
    table = instance.solve(**{kind: limit})
    for name, bits in table.items():
        assert instance.loss(name, bits) == min(
            instance.loss(name, c) for c in choices(instance.layers[name])
        )


def test_exactly_enough_is_enough() -> None:
    """A budget of whole bits, as recipe lrp-budget asks for, is not missed by rounding."""
    instance = Instance([(7, 11), (0, 13), (17, 19)], seed=3)
    for bits in BITS:
        table = instance.solve(avg_weight_bits=bits, avg_act_bits=float(bits))
        assert instance.total("avg_act_bits", table) <= bits
    assert instance.solve(avg_weight_bits=2, avg_act_bits=2) == {"l0": (2, 2), "l1": (None, 2), "l2": (2, 2)}
    for kind in KINDS:
        table = instance.solve(**{kind: instance.extreme(kind, 2)})
        assert instance.total(kind, table) == pytest.approx(instance.extreme(kind, 2))


def test_bits_go_where_importance_times_error_is() -> None:
    instance = Instance([(64, 64), (64, 64)], seed=4)
    instance.errors["l1"] = instance.errors["l0"]
    instance.omega = {"l0": 0.9, "l1": 0.1}
    first = instance.solve(avg_weight_bits=4, avg_act_bits=4)
    assert first["l0"] > first["l1"] and first["l0"][1] > first["l1"][1]
    instance.omega = {"l0": 0.1, "l1": 0.9}
    assert instance.solve(avg_weight_bits=4, avg_act_bits=4) == {"l0": first["l1"], "l1": first["l0"]}


def test_the_same_question_has_the_same_answer() -> None:
    instance = Instance([(64, 64), (0, 64), (64, 64)], seed=5)
    instance.errors = dict.fromkeys(instance.layers, instance.errors["l0"])
    instance.omega = dict.fromkeys(instance.layers, 1 / 3)
    assert instance.solve(gbops=2e-6) == instance.solve(gbops=2e-6)


# -- budgets -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "value"),
    in_turn(
        KINDS, [0, -1, 0.0, -2.5, float("nan"), float("inf"), "4", "", True, False, [4], (4, 4), 4j], times=2
    ),
    ids=repr,
)
def test_budgets_that_are_no_number_above_0_are_refused(kind: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{kind} must be a number above 0, got ") as caught:
        Budget(**{"avg_act_bits": 4.0, kind: value})
    assert str(caught.value).endswith(repr(value))


def test_none_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one of avg_weight_bits, avg_act_bits, size_mb, gbops"):
        Budget()


def test_limits_are_those_given() -> None:
    assert Budget(size_mb=3, gbops=0.5).limits == {"size_mb": 3, "gbops": 0.5}
    assert Budget(size_mb=3)["size_mb"] == 3
