"""Every page offers the models that it can show."""

import vitq_core as vq
from ui.parts import models, settings
from ui.parts.forms import model_choices
from vitq_core import ModelInfo


def test_a_page_of_answers_offers_no_segmenter_and_refuses_it(monkeypatch):
    listed = [
        ModelInfo("far", "Far", "classification", 1, False, "far"),
        ModelInfo("sam", "Sam", "segmentation", 1, True, "sam"),
        ModelInfo("near", "Near", "classification", 1, True, "near"),
    ]
    monkeypatch.setattr(vq, "list_models", lambda: listed)
    assert model_choices() == [("Near", "near"), ("Far (download)", "far")]
    assert models.choices(models.SEGMENTS) == [("Sam", "sam")]
    assert settings.general_problems({"model": "sam"})["model"] == "Choose one of near, far."
