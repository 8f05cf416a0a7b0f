"""The result that the first page opens with is the one that the engine computes today."""

import pytest
from PIL import Image

from ui.parts.forms import opening_settings
from ui.parts.stored_outcome import stored_settings
from ui.workbench import OPENING, Workbench


@pytest.fixture(scope="module")
def bench():
    return Workbench()


def test_it_belongs_to_the_settings_that_the_form_opens_with():
    assert stored_settings(OPENING) == opening_settings()
    assert opening_settings().recipe == "vitq"


def test_it_is_shown_at_once_and_kept(bench):
    opening = bench.opening()
    assert opening.stored
    assert bench.opening() is opening
    assert bench.quantize(opening_settings()) is opening


def test_it_still_tells_pictures_unlike_those_of_the_run(bench):
    settings = opening_settings()
    scene = bench.opening().reference.samples[3].read()
    noise = Image.effect_noise((200, 200), 90).convert("RGB")
    assert not bench.classify(settings, scene).unlike
    assert bench.classify(settings, noise).unlike


def test_other_settings_have_none(bench, monkeypatch, tmp_path):
    monkeypatch.setattr("ui.workbench.OPENING", tmp_path)
    assert Workbench().opening() is None


def test_the_engine_computes_the_same_today(bench):
    """Another machine's rounding may move an answer; bits and sizes stay."""
    opening, fresh = bench.opening(), Workbench()
    today = fresh.quantize(opening_settings())
    assert not today.stored
    assert today.result.bits == opening.result.bits
    assert today.result.report.size_mb == opening.result.report.size_mb
    assert today.reference.evaluation.top1 == pytest.approx(opening.reference.evaluation.top1, abs=0.005)
    assert today.evaluation.top1 == pytest.approx(opening.evaluation.top1, abs=0.02)
