"""What is wrong with one value of a form: a sentence, empty where nothing is."""

from collections.abc import Iterable, Mapping
from typing import Any

from vitq_core.experiment import is_name, is_number


def refuse(wrong: Mapping[str, str]) -> None:
    """Raises ValueError, with a sentence for each field, where something is wrong."""
    if wrong:
        raise ValueError(" ".join(f"{field}: {sentence}" for field, sentence in wrong.items()))


def one_of(value: Any, known: Iterable[str]) -> str:
    return "" if is_name(value, known) else f"Choose one of {', '.join(known)}."


def whole(value: Any, low: int, high: int) -> str:
    fits = is_number(value) and value % 1 == 0 and low <= value <= high
    return "" if fits else f"A whole number from {low} to {high}."


def number_in(text: Any, kind: type = int) -> Any:
    """The number of this kind that is typed as text, None where nothing is; what is none as it is."""
    if not isinstance(text, str):
        return text
    try:
        return kind(text) if text.strip() else None
    except ValueError:
        return text
