"""What programs may call: how their requests queue, and the sentence that each refusal is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import gradio as gr

from .runs import HEAVY, sentence

T = TypeVar("T")
PUBLIC = {**HEAVY, "api_visibility": "public"}  # waits for everybody's runs, as a button does
AT_ONCE = {"queue": False, "api_visibility": "public"}


def or_error(make: Callable[[], T]) -> T:
    """What `make` gives; where it raises, what to tell whoever asked."""
    try:
        return make()
    except Exception as error:
        raise gr.Error(sentence(error), print_exception=False) from error


def refuse(wrong: Mapping[str, str]) -> None:
    """`wrong`: {parameter: a sentence}."""
    if wrong:
        raise gr.Error("; ".join(f"{name}: {text}" for name, text in wrong.items()), print_exception=False)
