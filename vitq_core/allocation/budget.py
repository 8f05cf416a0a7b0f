"""The budget policy: bits where importance × measured error says they matter, by an exact integer program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import ceil, floor, gcd, log10
from types import MappingProxyType

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from ..common.errors import VitqError
from ..common.records import Record
from ..graph.site import Layer
from ..quantized.cost import Cost
from ..quantized.output_error import LayerError
from ..recipes.recipe import MAX_BITS, MIN_BITS
from .table import BitsTable

BITS = tuple(range(MIN_BITS, MAX_BITS + 1))
TIME_LIMIT = 120.0  # seconds
PLENTY = 1e9  # more than any model could spend, of any unit
NO_PINS: BitsTable = MappingProxyType({})
SCALE = 1e3  # the objective's size, far above the solver's absolute tolerance


@dataclass(frozen=True)
class Budget(Record):
    """Limits; None for none. Averages as in a result's report, ``size_mb`` in 10⁶ bytes, ``gbops`` 10⁹.

    Raises ValueError where none is given or one is no number above 0.
    """

    avg_weight_bits: float | None = None
    avg_act_bits: float | None = None
    size_mb: float | None = None
    gbops: float | None = None

    def __post_init__(self) -> None:
        if not self.limits:
            names = ", ".join(f.name for f in fields(self))
            raise ValueError(f"policy='budget' needs at least one of {names}")
        for name, limit in self.limits.items():
            number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
            if not number or not 0 < limit < float("inf"):
                raise ValueError(f"{name} must be a number above 0, got {limit!r}")

    @property
    def limits(self) -> dict[str, float]:
        return {name: limit for name, limit in self.items() if limit is not None}


class OutOfReach(ValueError):
    """A budget below what the fewest bits take. ``limit``: a name of :class:`Budget`; ``nearest``: the least
    that can be met, as text.
    """

    def __init__(self, limit: str, asked: float, nearest: str, where: str = "everywhere") -> None:
        super().__init__(
            f"{limit}={asked:g} cannot be met: with {MIN_BITS} bits {where} this model comes to {nearest}"
            "; that is the nearest possible"
        )
        self.limit, self.asked, self.nearest, self.where = limit, asked, nearest, where

    def __reduce__(self) -> tuple[type[OutOfReach], tuple[str, float, str, str]]:
        return type(self), (self.limit, self.asked, self.nearest, self.where)


@dataclass(frozen=True)
class _Option:
    """Bits that an operand (or a pair of them) of a layer may get, what it adds to the error and to costs."""

    layer: str
    weight: int | None
    act: int | None
    error: float
    cost: dict[str, int]


def budget_policy(
    omega: dict[str, float],
    errors: dict[str, LayerError],
    layers: dict[str, Layer],
    budget: Budget,
    other_bytes: int = 0,
    shared: Sequence[tuple[str, ...]] = (),
    pinned: BitsTable = NO_PINS,
) -> BitsTable:
    """Minimize ``Σ Ω · error(operand, bits)`` within ``budget``.

    ``omega``: relative importance; ``errors``: of the layers' outputs at 2 to 8 bits; ``other_bytes``: of
    what a stored model holds beside codes; ``shared``: layers that need the same activation bits; ``pinned``:
    those of some layers, which stay. Raises ValueError for a budget that cannot be met, naming the nearest,
    and for pins that contradict each other.
    """
    paired = budget.gbops is not None  # bit operations multiply the two: they must be chosen together
    _check_pins(pinned, shared)
    groups = [
        [option for option in group if _allowed(option, pinned)]
        for layer in layers.values()
        for group in _groups(layer, omega, errors, paired)
    ]
    rooms = _rooms(budget, layers, other_bytes)
    _check_feasible(budget, rooms, layers, pinned, shared)
    picked = _solve(groups, rooms, shared)
    table = dict.fromkeys(layers, (None, 0))
    for option in picked:
        weight, act = table[option.layer]
        table[option.layer] = (option.weight or weight, option.act or act)
    return table


def least_harm(
    harms: Mapping[str, Mapping[int, float]], sizes: Mapping[str, Mapping[int, int]], room: int
) -> dict[str, int]:
    """{name: bits} that minimize the sum of ``harms`` {name: {bits: …}} with ``sizes``, whole numbers that
    add up to at most ``room``. Raises ValueError where the smallest do not fit."""
    least = sum(min(each.values()) for each in sizes.values())
    if least > room:
        raise ValueError(f"a room of {room} is too small: the fewest bits take {least}")
    groups = [
        [_Option(name, bits, None, harm, {"size_mb": sizes[name][bits]}) for bits, harm in each.items()]
        for name, each in harms.items()
    ]
    return {option.layer: option.weight for option in _solve(groups, {"size_mb": (1.0, 0, room)}, ())}


def _allowed(option: _Option, pinned: BitsTable) -> bool:
    if option.layer not in pinned:
        return True
    weight, act = pinned[option.layer]
    return option.weight in (None, weight) and option.act in (None, act)


def _check_pins(pinned: BitsTable, shared: Sequence[tuple[str, ...]]) -> None:
    for names in shared:
        held = {name: pinned[name][1] for name in names if name in pinned}
        if len(set(held.values())) > 1:
            raise ValueError(
                f"{' and '.join(held)} read one tensor, so their activation bits must be the same, "
                f"not {' and '.join(map(str, held.values()))}"
            )


def _groups(
    layer: Layer, omega: dict[str, float], errors: dict[str, LayerError], paired: bool
) -> Iterator[list[_Option]]:
    """Lists of options of which exactly one is taken."""
    weights = () if layer.weight is None else BITS
    if paired:
        yield [_option(layer, w, a, omega, errors) for w in weights or (None,) for a in BITS]
        return
    yield [_option(layer, None, a, omega, errors) for a in BITS]
    if weights:
        yield [_option(layer, w, None, omega, errors) for w in weights]


def _option(
    layer: Layer, weight: int | None, act: int | None, omega: dict[str, float], errors: dict[str, LayerError]
) -> _Option:
    measured = errors[layer.name]
    error = (0.0 if weight is None else float(measured.weight[weight].mean())) + (
        0.0 if act is None else float(measured.act[act].mean())
    )
    return _Option(layer.name, weight, act, omega[layer.name] * error, _cost(layer, weight, act))


def _cost(layer: Layer, weight: int | None, act: int | None) -> dict[str, int]:
    """{limit's name: what these bits spend of it}; None for an operand that is not there."""
    spent = Cost().add(layer, weight, [] if act is None else [act] * len(layer.inputs))
    return {
        "avg_weight_bits": spent.weight_bits,
        "avg_act_bits": spent.input_bits,
        "size_mb": spent.code_bytes,
        "gbops": spent.operations,
    }


def _rooms(
    budget: Budget, layers: dict[str, Layer], other_bytes: int
) -> dict[str, tuple[float, float, float]]:
    """{limit's name: (unit, constant, whole-numbered room)}: a value is (cost + constant) / unit."""
    units = {
        "avg_weight_bits": (max(sum(layer.params for layer in layers.values() if layer.weight), 1), 0),
        "avg_act_bits": (max(sum(layer.macs * len(layer.inputs) for layer in layers.values()), 1), 0),
        "size_mb": (1e6, other_bytes),
        "gbops": (1e9, 0),
    }
    return {
        name: (*units[name], floor(min(limit, PLENTY) * units[name][0] * (1 + 1e-12)) - units[name][1])
        for name, limit in budget.limits.items()
    }


def check_possible(budget: Budget, layers: dict[str, Layer]) -> None:
    """Raises ValueError for a budget that 2 bits everywhere exceed; the size needs the quantizers first."""
    rooms = _rooms(budget, layers, 0)
    rooms.pop("size_mb", None)
    _check_feasible(budget, rooms, layers)


def _check_feasible(
    budget: Budget,
    rooms: dict[str, tuple[float, float, float]],
    layers: dict[str, Layer],
    pinned: BitsTable = NO_PINS,
    shared: Sequence[tuple[str, ...]] = (),
) -> None:
    """The fewest bits everywhere meet every limit that can be met, and all limits at once."""
    least = {name: (None if layer.weight is None else MIN_BITS, MIN_BITS) for name, layer in layers.items()}
    for names in shared:  # what reads the tensor of a pinned layer has its activation bits
        for held in filter(pinned.__contains__, names):
            least |= {name: (least[name][0], pinned[held][1]) for name in names}
    fewest = [_cost(layers[name], *bits) for name, bits in {**least, **pinned}.items()]
    for name, (unit, constant, room) in rooms.items():
        spent = sum(cost[name] for cost in fewest)
        if spent > room:
            where = "everywhere but in the pinned layers" if pinned else "everywhere"
            raise OutOfReach(name, budget.limits[name], _rounded_up((spent + constant) / unit), where)


def _rounded_up(value: float) -> str:
    """Four significant digits, not below ``value``."""
    step = 10.0 ** (floor(log10(value)) - 3)
    return f"{ceil(value / step * (1 - 1e-12)) * step:.10g}"


def _solve(
    groups: list[list[_Option]],
    rooms: dict[str, tuple[float, float, float]],
    shared: Sequence[tuple[str, ...]],
) -> list[_Option]:
    options = [option for group in groups for option in group]
    largest = sum(max(option.error for option in group) for group in groups) or 1.0
    one_each = csr_array(
        (np.ones(len(options)), (np.repeat(range(len(groups)), list(map(len, groups))), range(len(options))))
    )
    constraints = [LinearConstraint(one_each, 1, 1)]
    for first, *others in shared:
        constraints += [_same(options, first, other, bits) for other in others for bits in BITS]
    for name, (_, _, room) in rooms.items():
        costs = [option.cost[name] for option in options]
        unit = gcd(*costs)  # whole numbers of moderate size: the solver's tolerance then cannot matter
        if unit:
            constraints.append(LinearConstraint(np.array([c // unit for c in costs])[None], ub=room // unit))
    solved = milp(
        np.array([option.error for option in options]) * (SCALE / largest),
        integrality=np.ones(len(options)),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": 0.0, "time_limit": TIME_LIMIT},
    )
    if solved.x is None:
        raise VitqError(f"the integer program was not solved in {TIME_LIMIT:.0f} seconds: {solved.message}")
    picked = [option for option, chosen in zip(options, solved.x, strict=True) if chosen > 0.5]
    tied = {name for names in shared for name in names}
    return _spent(picked, [[] if group[0].layer in tied else group for group in groups], rooms)


def _spent(
    picked: list[_Option], groups: list[list[_Option]], rooms: dict[str, tuple[float, float, float]]
) -> list[_Option]:
    """Where no error counts all tables are equally good: take as many bits as there is room for."""
    left = {name: room - sum(option.cost[name] for option in picked) for name, (_, _, room) in rooms.items()}
    for index, group in enumerate(groups):
        chosen = picked[index]
        for option in sorted(group, key=lambda o: (o.weight or 0) + (o.act or 0), reverse=True):
            extra = {name: option.cost[name] - chosen.cost[name] for name in left}
            grows = (option.weight or 0) >= (chosen.weight or 0) and (option.act or 0) >= (chosen.act or 0)
            if grows and option.error <= chosen.error and all(extra[name] <= left[name] for name in left):
                picked[index] = option
                left = {name: room - extra[name] for name, room in left.items()}
                break
    return picked


def _same(options: list[_Option], first: str, other: str, bits: int) -> LinearConstraint:
    """Either both layers' inputs get ``bits`` or neither does."""
    sign = {first: 1.0, other: -1.0}
    row = [sign.get(option.layer, 0.0) if option.act == bits else 0.0 for option in options]
    return LinearConstraint(np.array(row)[None], 0, 0)
