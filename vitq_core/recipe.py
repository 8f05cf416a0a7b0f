"""Recipes: which quantizer each site gets, at which bits, through which passes. Data, not classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from fnmatch import fnmatchcase
from typing import Any

from .checks import check_name, check_number, check_options, check_share, check_whole, is_name
from .registry import Registry
from .schedule import EFFORT_NAMES, SETTINGS, Schedule, schedule_for
from .site import WEIGHT, Site

MIN_BITS, MAX_BITS = 2, 8
ALLOCATING = ("first_blocks", "reductions", "importance")  # options that say how bits are given out


def check_bits(bits: object, what: str) -> int:
    """``bits`` as an int, or a ValueError that names ``what`` and the range."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not MIN_BITS <= bits <= MAX_BITS:
        raise ValueError(f"{what} must be a whole number from {MIN_BITS} to {MAX_BITS}, got {bits!r:.80}")
    return bits


@dataclass(frozen=True)
class Use:
    """A quantizer by name, with its constructor's options; ``bits`` holds whatever the recipe's are."""

    quantizer: str
    options: Mapping[str, Any] = field(default_factory=dict)
    bits: int | None = None

    def __post_init__(self) -> None:
        if self.bits is not None:
            check_bits(self.bits, f"bits of a rule for {self.quantizer!r}")


@dataclass(frozen=True)
class Options:
    """What a user may tune beyond the bits. ``None`` means the paper's value, which the recipe's rules hold.

    ``alpha``: outlier threshold on |x|. ``alpha_ratio``: the same as a share of values kept in floating
    point (0.005 is 0.5 %), resolved per site on the calibration pictures. ``log_base``: base of every log
    quantizer, a number above 1, ``"sqrt2"`` or ``"fitted"``. ``clip_k``: CRL clips at mean ± k deviations;
    None tries 1, 1.5, 2 and 3. ``collapse``: CRL then takes one scale per layer. ``first_blocks``: how many
    blocks LRP-QViT gives a bit more (2); ``reductions=False`` takes it back nowhere. ``importance``: what
    ranks the layers, a name of ``vq.SOURCES``. ``effort``: reconstruction, ``"none"``, ``"quick"``,
    ``"standard"`` or ``"paper"``; ``reconstruction``: the settings of its :class:`Schedule` that are not that
    effort's.
    """

    alpha: float | None = None
    alpha_ratio: float | None = None
    log_base: float | str | None = None
    clip_k: float | None = None
    collapse: bool = False
    first_blocks: int | None = None
    reductions: bool = True
    importance: str = "relevance"
    effort: str = "none"
    reconstruction: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("alpha", "clip_k"):
            check_number(name, getattr(self, name), above=0.0)
        check_number("alpha_ratio", self.alpha_ratio, above=0.0, below=0.5)
        named = isinstance(self.log_base, str)  # an array's == is no yes or no
        if named and self.log_base == "sqrt2":
            object.__setattr__(self, "log_base", 2.0**0.5)
        elif not named or self.log_base != "fitted":
            check_number("log_base", self.log_base, above=1.0, below=16.0)
        for name in ("collapse", "reductions"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, got {getattr(self, name)!r:.80}")
        if self.first_blocks is not None:
            check_share("first_blocks", self.first_blocks, most=1000)
            check_whole("first_blocks", self.first_blocks)
        if not isinstance(self.importance, str):
            raise ValueError(f"importance must be the name of a source, got {self.importance!r:.80}")
        check_name("effort", self.effort, EFFORT_NAMES)
        check_options("reconstruction", self.reconstruction, sorted(SETTINGS), "setting")
        self.schedule  # noqa: B018 - wrong settings are refused now, not after calibration
        if self.alpha is not None and self.alpha_ratio is not None:
            raise ValueError("give alpha or alpha_ratio, not both: each sets the outlier threshold")

    @property
    def schedule(self) -> Schedule | None:
        """How to reconstruct; None: not at all."""
        return None if self.effort == "none" else schedule_for(self.effort, self.reconstruction)

    @property
    def quantizer_options(self) -> dict[str, float]:
        """Those that a quantizer's constructor takes, where the user set them."""
        given = {"alpha": self.alpha, "alpha_ratio": self.alpha_ratio, "base": self.log_base}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Recipe:
    """What to do to a model. ``rules`` maps a pattern to a :class:`Use`; the first match wins.

    A pattern with a colon is ``module:tensor`` (``*:weight``, ``*.qkv:input``), one without is a role
    (``post_softmax``, ``*``). ``bits`` overrides single layers: ``{layer: (weight_bits or None, act_bits)}``.
    """

    name: str
    title: str
    summary: str
    rules: Mapping[str, Use]
    passes: tuple[str, ...] = ("calibrate",)
    applies: frozenset[str] = frozenset()
    weight_bits: int = 4
    act_bits: int = 4
    bits: Mapping[str, tuple[int | None, int]] = field(default_factory=dict)
    options: Options = Options()

    def __post_init__(self) -> None:
        check_bits(self.weight_bits, "weight_bits")
        check_bits(self.act_bits, "act_bits")
        object.__setattr__(self, "bits", _check_table(self.bits))

    def use_for(self, site: Site) -> Use:
        """The quantizer of ``site``: its rule, with its bits filled in."""
        for pattern, use in self.rules.items():
            if fnmatchcase(str(site) if ":" in pattern else site.role, pattern):
                return replace(use, bits=self.bits_for(site, use))
        raise ValueError(f"recipe {self.name!r} has no rule for {site} (role {site.role!r}); add a rule '*'")

    def bits_for(self, site: Site, use: Use) -> int:
        if site.module in self.bits:
            weight_bits, act_bits = self.bits[site.module]
            chosen = weight_bits if site.tensor == WEIGHT else act_bits
            if chosen is not None:
                return chosen
        if use.bits is not None:
            return use.bits
        return self.weight_bits if site.tensor == WEIGHT else self.act_bits

    def to_json(self) -> str:
        """The whole recipe as JSON; :meth:`from_json` gives an equal one back."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        data["rules"] = {key: _asdict(use) for key, use in self.rules.items()}
        data["applies"] = sorted(self.applies)
        data["options"] = _asdict(self.options)
        data["bits"] = {layer: list(pair) for layer, pair in self.bits.items()}
        return json.dumps(data, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Raises ValueError for text that is not a recipe."""
        try:
            data = _with_fields(cls, json.loads(text), "the recipe")
            for name in ("options", "passes", "applies"):
                if name not in data:
                    raise TypeError(f"the recipe lacks {name!r}")
            rules = {key: _with_fields(Use, use, key) for key, use in _table(data["rules"], "rules").items()}
            data["rules"] = {key: Use(**use) for key, use in rules.items()}
            data["options"] = Options(**_with_fields(Options, data["options"], "options"))
            data["passes"] = tuple(_names(data, "passes"))
            data["applies"] = frozenset(_names(data, "applies"))
            return cls(**data)
        except (TypeError, json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"this is not a recipe's JSON: {error}") from error


def _asdict(item: Any) -> dict[str, Any]:
    return {f.name: getattr(item, f.name) for f in fields(item)}


def _names(data: dict[str, Any], key: str) -> list[str]:
    names = data[key]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{key} must be a list of names, got {names!r}")
    return names


def _table(data: Any, what: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise TypeError(f"{what} must be an object with names, got {data!r:.80}")
    return data


def _with_fields(kind: type, data: Any, what: str) -> dict[str, Any]:
    """``data`` where it has the fields that ``kind`` needs, and no other. TypeError otherwise."""
    known = [f.name for f in fields(kind)]
    for name in _table(data, what):
        if name not in known:
            raise TypeError(f"{what} has an unknown field {name!r:.80}; available: {', '.join(known)}")
    for f in fields(kind):
        if f.default is MISSING and f.default_factory is MISSING and f.name not in data:
            raise TypeError(f"{what} lacks {f.name!r}")
    return data


def _check_table(table: Mapping[str, Any]) -> dict[str, tuple[int | None, int]]:
    if not isinstance(table, Mapping):
        raise ValueError("bits must be a table {layer: (weight_bits or None, act_bits)}")
    checked = {}
    for layer, pair in table.items():
        if not isinstance(layer, str):
            raise ValueError(f"the keys of bits must be layer names, got {layer!r:.80}")
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ValueError(f"bits[{layer!r}] must be (weight_bits or None, act_bits), got {pair!r:.80}")
        weight, act = pair
        weight = weight if weight is None else check_bits(weight, f"bits[{layer!r}] weight")
        checked[layer] = (weight, check_bits(act, f"bits[{layer!r}] activation"))
    return checked


RECIPES: Registry[Recipe] = Registry("recipe")


def recipe(
    name: str, weight_bits: int = 4, act_bits: int = 4, bits: Mapping | None = None, **options: Any
) -> Recipe:
    """The named recipe at these bits.

    ``bits``: ``{layer: (weight_bits or None, act_bits)}`` for mixed precision. ``options``: see
    :class:`Options`, and :class:`Schedule` for those of the reconstruction, which ask for the standard effort
    where neither they nor the recipe name one. Raises ValueError for an unknown
    recipe or option, an option that does nothing in this recipe or beside a table, bits outside 2..8.
    """
    base = RECIPES[name]
    known = {f.name for f in fields(Options)} - {"reconstruction"}
    settings = {name: options.pop(name) for name in list(options) if name in SETTINGS}
    for option in options:
        if option not in known:
            names = ", ".join(sorted(known | SETTINGS))
            raise ValueError(f"unknown option {option!r}; available: bits, {names}")
        if option not in base.applies | {"effort"}:
            users = [other for other in RECIPES if option in RECIPES[other].applies]
            raise ValueError(
                f"option {option!r} does nothing in recipe {name!r}; it works in: {', '.join(users)}"
            )
    chosen = replace(base.options, **options, **_reconstruction(base.options, options, settings))
    table = _check_table({} if bits is None else bits)
    if table and any(name.startswith("allocate_") for name in base.passes):
        _refuse_allocating(options)
    return replace(base, weight_bits=weight_bits, act_bits=act_bits, bits=table, options=chosen)


def _refuse_allocating(options: Mapping[str, Any]) -> None:
    for option in ALLOCATING:
        if option in options:
            raise ValueError(
                f"bits=… already says what every layer gets, so {option}={options[option]!r} would do "
                "nothing; give one or the other"
            )


def _reconstruction(base: Options, options: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options that ``settings`` of the reconstruction make; they alone ask for the standard effort."""
    if not settings:
        return {}
    if is_name(options.get("effort"), ("none",)):
        raise ValueError(f"option {next(iter(settings))!r} does nothing with effort='none'")
    merged = {"reconstruction": {**base.reconstruction, **settings}}
    return merged if "effort" in options or base.effort != "none" else {**merged, "effort": "standard"}
