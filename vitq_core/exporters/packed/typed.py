"""Dataclasses out of JSON, every value of the type that its field says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_type_hints

from ...common.checks import MAX_COUNT, check_whole, is_number

MOST = MAX_COUNT**2  # of a count, such as multiply-accumulates


def typed(kind: type, value: Any, name: str) -> Any:
    """``value`` as a ``kind``: a dataclass, a tuple of one (``tuple[str, ...]``), text, a number, true or
    false. Whole numbers are counts, so at least 0; ``int | None`` is one of either sign, or none. Raises
    ValueError, with ``name``, for any other value."""
    if is_dataclass(kind):
        return _record(kind, value, name)
    if isinstance(kind, UnionType):
        if value is not None:
            check_whole(name, value)
        return value
    if inner := get_args(kind):
        if not isinstance(value, (list, tuple)):
            raise _wrong(name, "a list", value)
        return tuple(typed(inner[0], item, name) for item in value)
    if kind is float:
        if not is_number(value):
            raise _wrong(name, "a number", value)
    elif type(value) is not kind or (kind is int and not 0 <= value <= MOST):
        raise _wrong(name, {int: "a count", str: "text", bool: "true or false"}[kind], value)
    return value


def _record(kind: type, data: Any, name: str) -> Any:
    if not isinstance(data, Mapping):
        raise _wrong(name, f"a table of {kind.__name__}", data)
    hints, known = get_type_hints(kind), {field.name: field for field in fields(kind)}
    for key in data:
        if key not in known:
            raise ValueError(f"{name} has an unknown field {key!r:.80}")
    for key, field in known.items():
        if key not in data and field.default is MISSING:
            raise ValueError(f"{name} lacks {key!r}")
    return kind(**{key: typed(hints[key], value, f"{name}.{key}") for key, value in data.items()})


def _wrong(name: str, expected: str, value: Any) -> ValueError:
    return ValueError(f"{name} must be {expected}, got {value!r:.80}")
