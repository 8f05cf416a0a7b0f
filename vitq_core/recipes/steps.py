"""What a recipe's passes are: the one registry, and whether they can follow each other.

What a pass does is written in ``vitq_core.passes``, one file each; here is what may be asked before any work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..common.registry import Registry

# What a model can be on its way through the passes.
FLOAT, CENTRED, ROTATED, ALLOCATED = "in full precision", "centred", "rotated", "given its bits"
FOLDED, CLIPPED = "folded", "clipped"
CALIBRATED, RESCALED, COMPENSATED, RECONSTRUCTED = "calibrated", "rescaled", "compensated", "reconstructed"
RECONSTRUCT = "reconstruct"  # the pass that an effort adds at the end


@dataclass(frozen=True)
class Pass:
    """One step of a run. ``apply(run)`` changes the run; ``check(run)`` raises, before any work, for what
    would fail later.

    ``needs``, ``gives``, ``ends``: what the model must be, what it is afterwards, what it is no more.
    ``weight``: its share of a run's time, beside the other passes'. ``Options``: its own, a dataclass of
    ``common.options``. ``keeps_rows``: it weighs candidates on activation rows, which calibration then keeps.
    ``optional``: what it is for, for people, where a recipe is whole without it, so that it may be compared
    with doing without. ``doubt``: by how many standard errors it may then seem to harm and is kept: more than
    none for what has judged itself already, layer by layer on held-back pictures. ``when(run)``: is there
    anything for it to do; None: always.
    """

    name: str
    apply: Callable[[Any], None]
    needs: tuple[str, ...] = (FLOAT,)
    gives: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    weight: float = 1.0
    Options: type | None = None
    check: Callable[[Any], None] | None = None
    keeps_rows: bool = False
    optional: str = ""
    doubt: float = 0.0
    when: Callable[[Any], bool] | None = None

    def wanted(self, run: Any) -> bool:
        """Whether there is anything for it to do."""
        return self.when is None or self.when(run)


PASSES: Registry[Pass] = Registry("pass", filled_by="vitq_core.passes")


def add_pass(name: str, **traits: Any) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Registers the decorated function as ``apply`` of the pass ``name``; ``traits``: fields of `Pass`."""

    def add(apply: Callable[[Any], None]) -> Callable[[Any], None]:
        PASSES.register(name)(Pass(name, apply, **traits))
        return apply

    return add


def ordered(names: Sequence[str], recipe: str) -> list[Pass]:
    """The passes of these names. Raises ValueError for one that is not known, cannot follow those before it
    or repeats what one of them did, and where the model is not calibrated at the end.
    """
    state, by = {FLOAT}, {}
    found = [PASSES[name] for name in names]
    for step in found:
        for gift in step.gives:
            if gift in by:
                raise ValueError(
                    f"recipe {recipe!r}: the pass {step.name!r} cannot follow {by[gift]!r}, after which the "
                    f"model is {gift} already; keep one of them"
                )
        missing = [need for need in step.needs if need not in state]
        if missing:
            raise ValueError(
                f"recipe {recipe!r}: the pass {step.name!r} needs a model that is {missing[0]}, "
                f"{_how(missing[0])}"
            )
        state = (state - set(step.ends)) | set(step.gives)
        by |= dict.fromkeys(step.gives, step.name)
    if FLOAT in state:
        raise ValueError(f"recipe {recipe!r} leaves the model {FLOAT}: it must have the pass 'calibrate'")
    return found


def _how(state: str) -> str:
    makers = [name for name in sorted(PASSES) if state in PASSES[name].gives]
    if not makers:
        return "so it must come before 'calibrate'"
    return f"so it must come after {' or '.join(map(repr, makers))}"
