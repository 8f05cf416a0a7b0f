"""What the tabs offer can be shown by them, and they ask for it in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

import vitq_core as vq
from ui.parts import forms, model_bar, settings
from ui.parts.model_list import ALL, SEGMENTS, choices, offered, offered_ids, offered_models

from .test_settings import GOOD

UI = Path(__file__).parents[3] / "ui"


def test_a_model_that_answers_prompts_is_offered_by_no_other_tab() -> None:
    segmenting = [info.id for info in vq.list_models() if info.task == "segmentation"]
    assert "sam-vit-b" in segmenting
    offers = [offered_ids(), [name for _, name in forms.model_choices()]]
    for ids in offers:
        assert ids and not set(ids) & set(segmenting)
    assert offered("sam-vit-b") is None and model_bar.model_sentence("none") == ""


def test_the_tab_that_asks_for_prompts_offers_it() -> None:
    assert "sam-vit-b" in offered_ids(SEGMENTS)
    assert "demo-vit" not in offered_ids(SEGMENTS)
    bundled = [text for text, _ in choices(ALL) if "(download)" not in text]
    assert [text for text, _ in choices(ALL)][: len(bundled)] == bundled


def test_all_others_are_offered() -> None:
    assert offered_models() == [info for info in vq.list_models() if info.task == "classification"]
    assert offered("demo-vit").id == "demo-vit"


@pytest.mark.parametrize("name", ["sam-vit-b", "vit_b", "demo-sam"])
def test_a_request_for_one_is_refused(name: str) -> None:
    assert "model" in settings.problems({**GOOD, "model": name})


def test_nothing_else_in_the_studio_asks_the_engine() -> None:
    asking = [path.name for path in UI.rglob("*.py") if "vq.list_models" in path.read_text()]
    assert asking == ["model_list.py"]
