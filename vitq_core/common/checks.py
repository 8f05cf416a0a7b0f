"""Checks of option values, each with the sentence that says what would be right."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

MAX_COUNT = 2**31 - 1


def is_name(value: object, known: Iterable[str]) -> bool:
    """Whether ``value`` is one of ``known``; False, and no error, for a list, an array or anything else."""
    return isinstance(value, str) and value in known


def check_name(noun: str, value: object, known: Iterable[str]) -> str:
    """``value``, or a ValueError that lists ``known``, also where it is no text at all."""
    if not is_name(value, known):
        raise ValueError(f"unknown {noun} {value!r:.80}; available: {', '.join(known)}")
    return value


def check_options(name: str, value: object, known: Iterable[str], noun: str) -> Mapping:
    """``value``, or a ValueError unless it is a table whose keys are among ``known``."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a table {{{noun}: value}}, got {value!r:.80}")
    for key in value:
        check_name(noun, key, known)
    return value


def is_number(value: object) -> bool:
    """Whether ``value`` is a number (NaN and infinity too) that arithmetic can hold as a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, float) or abs(value) <= sys.float_info.max


def check_number(name: str, value: object, above: float, below: float = float("inf")) -> None:
    """ValueError unless ``value`` is None or a number with above < value < below."""
    if value is None:
        return
    if not is_number(value) or not above < value < below:
        limit = f"above {above:g}" + ("" if below == float("inf") else f" and below {below:g}")
        raise ValueError(f"{name} must be a number {limit}, got {value!r:.80}")


def check_share(name: str, value: object, least: float = 0.0, most: float = 1.0) -> None:
    """ValueError unless ``value`` is a number with least ≤ value ≤ most."""
    if not is_number(value) or not least <= value <= most:
        raise ValueError(f"{name} must be a number from {least:g} to {most:g}, got {value!r:.80}")


def check_count(name: str, value: object, hint: str = "") -> None:
    """ValueError unless ``value`` is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r:.80}{hint}")
    if value > MAX_COUNT:
        raise ValueError(f"{name} must be at most {MAX_COUNT}, got {value!r:.80}")


def check_whole(name: str, value: object) -> None:
    """ValueError unless ``value`` is a whole number that torch's generators take."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number, got {value!r:.80}")
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{name} must be a whole number from -2^63 to 2^63 - 1, got {value!r:.80}")


def check_function(name: str, value: object) -> None:
    """ValueError unless ``value`` is None or can be called."""
    if value is not None and not callable(value):
        raise ValueError(f"{name} must be a function, got {value!r:.80}")


def check_choice(name: str, value: object, choices: tuple) -> None:
    """ValueError unless ``value`` is one of ``choices``, which are names, None, True or False."""
    equal = isinstance(value, (str, int)) and value in choices  # an array's == is no yes or no
    if not equal and not any(value is choice for choice in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, got {value!r:.80}")
