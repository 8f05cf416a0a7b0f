"""The options of a recipe: whatever its quantizers and passes own, and how much is learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..common.checks import check_name
from ..common.options import Option, declared_in, options_of
from ..quantizers import QUANTIZERS
from .schedule import EFFORT_NAMES, Schedule, schedule_for
from .steps import PASSES

NO_EFFORT = "none"
NO_SETTINGS: Mapping[str, Any] = {}


class Options(Mapping):
    """What is set beyond the bits, {name: value}; an attribute that is not set is its owner's default.

    ``effort``: how much is learned: ``"none"``, ``"quick"``, ``"standard"`` or ``"paper"``;
    ``reconstruction``: the settings of its :class:`Schedule` that are not that effort's. All others belong to
    quantizers and passes (:func:`known_options`).
    """

    def __init__(
        self, effort: str = NO_EFFORT, reconstruction: Mapping[str, Any] = NO_SETTINGS, **owned: Any
    ) -> None:
        if not isinstance(reconstruction, Mapping):
            raise ValueError(f"reconstruction must be {{setting: value}}, got {reconstruction!r:.80}")
        check_name("effort", effort, EFFORT_NAMES)
        known = known_options()
        owned = {
            name: known[name].check(name, value) if name in known else value for name, value in owned.items()
        }
        self._values = {"effort": effort, "reconstruction": reconstruction or {}, **owned}
        self.schedule  # noqa: B018 - wrong settings are refused now, not after calibration

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("_values", {})
        if name in values:
            return values[name]
        known = {} if name.startswith("_") else known_options()
        if name not in known:
            raise AttributeError(f"no option {name!r}; available: {', '.join(sorted(known))}")
        return known[name].default

    def __repr__(self) -> str:
        return f"Options({', '.join(f'{name}={value!r}' for name, value in self.items())})"

    @property
    def owned(self) -> dict[str, Any]:
        """Those of quantizers and passes that are set."""
        return {k: v for k, v in self.items() if k not in ("effort", "reconstruction")}

    @property
    def schedule(self) -> Schedule | None:
        """How to reconstruct; None: not at all."""
        return None if self.effort == NO_EFFORT else schedule_for(self.effort, self.reconstruction)

    def given_to(self, declared: type | None) -> dict[str, Any]:
        """{argument: value} of the options that are set and that an owner's dataclass declares."""
        return {o.argument: self[name] for name, o in declared_in(declared).items() if name in self}


def known_options() -> dict[str, Option]:
    """Every option that a quantizer or a pass owns."""
    found: dict[str, Option] = {}
    for owner in (*QUANTIZERS.values(), *PASSES.values()):
        found |= {name: declared for name, declared in options_of(owner).items() if name not in found}
    return found


def check_together(options: Options, owners: list[type]) -> None:
    """Raises ValueError for options that contradict each other, as their owner says."""
    for owner in owners:
        if options_of(owner):
            owner.Options(**options.given_to(owner.Options))
