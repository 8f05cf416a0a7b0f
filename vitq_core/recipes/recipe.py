"""Recipes: which quantizer each site gets, at which bits, through which passes. Data, not classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from fnmatch import fnmatchcase
from typing import Any

from ..common.checks import is_name
from ..common.options import options_of
from ..common.registry import Registry
from ..graph.site import BETWEEN, HEAD, HEAD_WEIGHT, WEIGHT, Site
from ..quantizers import kind_of
from .options import Options, check_together, known_options
from .schedule import SETTINGS
from .steps import ALLOCATED, PASSES, RECONSTRUCT, Pass, ordered

MIN_BITS, MAX_BITS = 2, 8
SEGMENTATION = "segmentation"  # the name of that task


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
class Recipe:
    """What to do to a model. ``rules`` maps a pattern to a :class:`Use`; the first match wins.

    A pattern with a colon is ``module:tensor`` (``*:weight``, ``*.qkv:input``), one without is a role
    (``post_softmax``, ``*``); tensors between layers are quantized where their role is named.
    ``bits`` overrides single layers: ``{layer: (weight_bits or None, act_bits)}``.
    ``made_for``: the one task that it is of use for, empty for any.
    """

    name: str
    title: str
    summary: str
    rules: Mapping[str, Use]
    passes: tuple[str, ...] = ("calibrate",)
    weight_bits: int = 4
    act_bits: int = 4
    bits: Mapping[str, tuple[int | None, int]] = field(default_factory=dict)
    made_for: str = ""
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        check_bits(self.weight_bits, "weight_bits")
        check_bits(self.act_bits, "act_bits")
        object.__setattr__(self, "bits", _check_table(self.bits))

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of all passes: an effort reconstructs at the end."""
        added = self.options.schedule is not None and RECONSTRUCT not in self.passes
        return (*self.passes, RECONSTRUCT) if added else self.passes

    @property
    def owners(self) -> list[type]:
        """The quantizers and passes that may have options."""
        quantizers = dict.fromkeys(kind_of(use.quantizer) for use in self.rules.values())
        return [*quantizers, *(PASSES[name] for name in self.passes)]

    @property
    def applies(self) -> frozenset[str]:
        """The names of the options that do something here."""
        return frozenset(name for owner in self.owners for name in options_of(owner))

    def plan(self) -> list[Pass]:
        """The passes in their order. Raises ValueError where they cannot follow each other, for an unknown
        quantizer, and for an option that nobody owns or that contradicts another.
        """
        for name in self.options.owned:
            if name not in self.applies:
                raise _unowned(name, self.name)
        check_together(self.options, self.owners)
        return ordered(self.steps, self.name)

    def use_for(self, site: Site) -> Use:
        """The quantizer of ``site``: its rule, with its bits filled in."""
        for pattern, use in self.rules.items():
            if _meets(pattern, site):
                return replace(use, bits=self.bits_for(site, use))
        raise ValueError(f"recipe {self.name!r} has no rule for {site} (role {site.role!r}); add a rule '*'")

    def quantizes(self, site: Site) -> bool:
        """Whether a rule says what becomes of ``site``; "*" says nothing of a tensor between layers."""
        return any(_meets(pattern, site) for pattern in self.rules)

    @property
    def whole(self) -> bool:
        """Whether tensors between layers are quantized too."""
        return any(pattern in BETWEEN for pattern in self.rules)

    def suits(self, task: str) -> bool:
        """Whether it can be of use for models of ``task``, empty for those that take pictures alone. What
        lies between the layers of Segment Anything nobody lists."""
        return self.made_for in ("", task) and not (self.whole and task == SEGMENTATION)

    def bits_for(self, site: Site, use: Use) -> int:
        if site.role in (HEAD, HEAD_WEIGHT) and self.options.heads is not None:
            return self.options.heads
        if site.module in self.bits and not site.between:
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
        data["options"] = dict(self.options)
        data["bits"] = {layer: list(pair) for layer, pair in self.bits.items()}
        return json.dumps(data, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Raises ValueError for text that is not a recipe, or one that cannot be followed."""
        try:
            data = _table(json.loads(text), "the recipe")
            data.pop("applies", None)  # written before options had owners
            _with_fields(cls, data, "the recipe")
            for name in ("options", "passes"):
                if name not in data:
                    raise TypeError(f"the recipe lacks {name!r}")
            for name in ("name", "title", "summary", "made_for"):
                if not isinstance(data.get(name, ""), str):
                    raise TypeError(f"{name} must be text, got {data[name]!r:.80}")
            rules = {key: _with_fields(Use, use, key) for key, use in _table(data["rules"], "rules").items()}
            for key, use in rules.items():
                _table(use.get("options", {}), f"the options of {key!r}")
            data["rules"] = {key: Use(**use) for key, use in rules.items()}
            data["passes"] = tuple(_names(data, "passes"))
            data["options"] = _options(Options(**_table(data["options"], "options")))
            recipe = cls(**data)
        except (TypeError, json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"this is not a recipe's JSON: {error}") from error
        recipe.plan()
        return recipe


def _meets(pattern: str, site: Site) -> bool:
    if site.between:
        return pattern == site.role
    return fnmatchcase(str(site) if ":" in pattern else site.role, pattern)


def _options(options: Options) -> Options:
    """Without those that say what their owner does anyway."""
    known = known_options()
    given = {k: v for k, v in options.owned.items() if k not in known or v != known[k].default}
    return Options(options.effort, options.reconstruction, **given)


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

    ``bits``: ``{layer: (weight_bits or None, act_bits)}`` for mixed precision. ``options``: ``effort``, those
    that the recipe's quantizers and passes own (``recipe.applies``), and those of :class:`Schedule` for the
    reconstruction, which ask for the standard effort where neither they nor the recipe name one. Raises
    ValueError for an unknown recipe or option, an option that does nothing in this recipe or beside a table,
    bits outside 2..8.
    """
    base = RECIPES[name]
    settings = {name: options.pop(name) for name in list(options) if name in SETTINGS}
    for option in options:
        if option not in base.applies | {"effort"}:
            raise _unowned(option, name)
    table = {} if bits is None else _check_table(bits)
    if table:
        _refuse_allocating(base, options)
    chosen = {**base.options, **options, **_reconstruction(base.options, options, settings)}
    made = replace(
        base, weight_bits=weight_bits, act_bits=act_bits, bits=table, options=_options(Options(**chosen))
    )
    made.plan()
    return made


def _unowned(option: str, name: str) -> ValueError:
    known = known_options()
    if option not in known:
        names = ", ".join(sorted({"effort", *known, *SETTINGS}))
        return ValueError(f"unknown option {option!r}; available: bits, {names}")
    users = [other for other in RECIPES if option in RECIPES[other].applies]
    return ValueError(f"option {option!r} does nothing in recipe {name!r}; it works in: {', '.join(users)}")


def _refuse_allocating(base: Recipe, options: Mapping[str, Any]) -> None:
    """With a table no pass gives out bits, so its options would do nothing."""
    allocating = {
        name for step in base.passes if ALLOCATED in PASSES[step].gives for name in options_of(PASSES[step])
    }
    for option in allocating & set(options):
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
