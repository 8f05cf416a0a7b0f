"""Checks of option values, each with the sentence that says what would be right."""

from __future__ import annotations


def check_number(name: str, value: object, above: float, below: float = float("inf")) -> None:
    """ValueError unless ``value`` is None or a number with above < value < below."""
    if value is None:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not above < value < below:
        limit = f"above {above:g}" + ("" if below == float("inf") else f" and below {below:g}")
        raise ValueError(f"{name} must be a number {limit}, got {value!r}")


def check_share(name: str, value: object, least: float = 0.0, most: float = 1.0) -> None:
    """ValueError unless ``value`` is a number with least ≤ value ≤ most."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not least <= value <= most:
        raise ValueError(f"{name} must be a number from {least:g} to {most:g}, got {value!r}")


def check_count(name: str, value: object, hint: str = "") -> None:
    """ValueError unless ``value`` is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}{hint}")


def check_whole(name: str, value: object) -> None:
    """ValueError unless ``value`` is a whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number, got {value!r:.80}")


def check_function(name: str, value: object) -> None:
    """ValueError unless ``value`` is None or can be called."""
    if value is not None and not callable(value):
        raise ValueError(f"{name} must be a function, got {value!r:.80}")


def check_choice(name: str, value: object, choices: tuple) -> None:
    """ValueError unless ``value`` is one of ``choices``."""
    if not any(value is choice or value == choice for choice in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, got {value!r}")
