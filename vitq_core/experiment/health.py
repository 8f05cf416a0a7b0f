"""Whether calibration pictures will do for those that a model is judged by: enough, not alike, of one kind.

All of it is told by what passes through the full-precision model while it answers them: features
(`likeness.py`) and the least and greatest inputs of its layers (`extremes.py`). What to expect of pictures
of one kind follows from counting alone, whatever the model; the limits beyond which a number is said aloud
are those that no set of one kind passed in `tests/benchmarks/calibration_health.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.words import counted
from .extremes import Extremes, expected_greatest, log_choices
from .likeness import FEWEST, Features, View

BEYOND = 0.075  # of the ends of ranges: pictures of one kind have 1 in (calibration pictures + 1)
NEARER = 1 / 3  # of the test pictures: of one kind there are a half
ALIKE = (
    0.1  # of the calibration pictures: of photographs and scenes that were taken one by one there are none
)
NEAR = 0.25  # of the usual distance to the nearest of so many pictures
TOLD = 8  # calibration pictures from which a kind is told


@dataclass(frozen=True)
class Health:
    """`pictures` to calibrate, of which so many are `repeated`: nearly the same as an earlier one.

    `nearer`: the share of test pictures that lie nearer to a calibration picture than to one of equally many
    other test pictures, one half of pictures of one kind; the least of any view. `beyond`: the share of the
    ends of ranges, a layer's on a test picture, that lie beyond what calibration measured: 1 / (pictures + 1)
    of pictures of one kind. `excess`: how much of the ranges of as many test pictures is cut off. All are
    shares 0..1, and None where there are too few pictures to tell.
    """

    pictures: int
    repeated: int | None = None
    nearer: float | None = None
    beyond: float | None = None
    excess: float | None = None

    @property
    def chance(self) -> float:
        """What `beyond` is for pictures of one kind that are all different."""
        return 1 / (self.pictures + 1)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences, each with its number; none where all is well."""
        return tuple(_warnings(self))


def _warnings(found: Health) -> Iterator[str]:
    count = counted(found.pictures, "calibration picture")
    if found.repeated is not None and found.repeated >= ALIKE * found.pictures:
        yield (
            f"Alike: {found.repeated} of {count} are nearly the same as another one, and tell nothing new. "
            "Use other pictures."
        )
    if found.nearer is not None and found.nearer < NEARER:
        yield (
            f"Another kind: only {_percent(found.nearer)} of the test pictures look more like the "
            "calibration pictures than like each other (50 % where both are of one kind). What was measured "
            "on one kind may not hold for the other."
        )
    if found.beyond is not None and found.beyond > BEYOND:
        few = f"Calibrate on more than {counted(found.pictures, 'picture')}."
        usual = f"With {counted(found.pictures, 'different picture')} of one kind it would be"
        yield (
            f"Ranges too narrow: in {_percent(found.beyond)} of the cases a layer's values on a test picture "
            "go beyond the measured range. "
            + (f"{usual} {_percent(found.chance)}." if found.beyond > 2 * found.chance else few)
        )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def health(
    calibration: Features, tested: Features, measured: Extremes | None, judged: Extremes | None
) -> Health:
    """Of both kinds of pictures their features and extremes, as the full-precision model has them."""
    count = len(measured) if measured else max(map(len, calibration.values()), default=0)
    ranges = {}
    if measured and judged and measured.names == judged.names:
        ranges = {"beyond": measured.beyond(judged), "excess": measured.excess(judged)}
    views = [name for name in calibration if len(tested.get(name, ())) >= FEWEST]
    if not views:
        return Health(count, **ranges)
    pairs = [Distances.of(calibration[name], tested[name]) for name in views]
    repeated = torch.stack([pair.repeated() for pair in pairs]).all(0)
    told = int((~repeated).sum()) >= TOLD
    nearer = min(pair.nearer(~repeated) for pair in pairs) if told else None
    return Health(count, int(repeated.sum()), nearer, **ranges)


@dataclass(frozen=True, eq=False)
class Distances:
    """In one view: `across` [T, C] from test to calibration pictures, `within` [T, T − 1] from each test
    picture to the others, `own` [C, C] between calibration pictures."""

    across: Tensor
    within: Tensor
    own: Tensor

    @classmethod
    def of(cls, calibration: Tensor, tested: Tensor) -> Distances:
        """Of features [C, D] and [T, D]."""
        known = View.of(torch.cat([calibration, tested])).known
        mine, theirs = known[: len(calibration)], known[len(calibration) :]
        between = _distances(theirs, theirs)
        apart = ~torch.eye(len(theirs), dtype=torch.bool)
        within = between[apart].reshape(len(theirs), -1)
        return cls(_distances(theirs, mine), within, _distances(mine, mine))

    def nearer(self, counted: Tensor) -> float:
        """The share of test pictures that are nearer to one of the ``counted`` calibration pictures than to
        one of equally many others, all choices of so many taken together: 1/2 where both are drawn alike."""
        total = self.within.shape[1]
        across = self.across[:, counted][:, :total]  # not more than there are others
        nearest, count = across.amin(1), across.shape[1]
        # All of the others are farther in C(farther, count) of the C(total, count) choices.
        farther = (self.within > nearest[:, None]).sum(1).tolist()
        chances = [log_choices(each, count) - log_choices(total, count) for each in farther if each >= count]
        return float(torch.tensor(chances, dtype=torch.float64).exp().sum()) / len(across)

    def repeated(self) -> Tensor:
        """bool [C]: those that lie beside an earlier one, where others of so many are usually far apart."""
        count = min(len(self.own), self.within.shape[1])
        usual = -expected_greatest(-self.within.T, count)
        earlier = torch.ones_like(self.own, dtype=torch.bool).tril(-1)
        return ((self.own < NEAR * float(usual.median())) & earlier).any(1)


def _distances(these: Tensor, those: Tensor) -> Tensor:
    # Exact differences: the fast way is off where pictures are very near each other.
    return torch.cdist(these, those, compute_mode="donot_use_mm_for_euclid_dist")
