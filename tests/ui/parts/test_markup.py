"""What a result says, as HTML: a picture unlike those of the run, numbers with their meaning."""

from dataclasses import replace

import pytest
import timm
from PIL import Image

import vitq_core as vq
from tests.shown import text_of
from ui.parts import markup
from ui.parts.outcome import Pair
from ui.parts.settings import RunSettings
from vitq_core.experiment.health import Health

SIZE = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2}


@pytest.mark.parametrize(
    ("change", "said"), [(-0.023, "2.3 points lost"), (0.01, "1.0 points gained"), (0.0, "no change")]
)
def test_a_change_in_accuracy_is_said_with_its_margin(change, said):
    assert markup.change_in_words(change, 0.019, 256) == f"{said} (give or take 1.9, from 256 pictures)"


def test_only_a_picture_unlike_the_others_says_so():
    pair = Pair([("ant", 0.9)], [("bee", 0.8)])
    assert markup.UNLIKE in markup.verdict(replace(pair, unlike=True))
    for unlike in (False, None):
        assert "unlike" not in markup.verdict(replace(pair, unlike=unlike))


@pytest.fixture
def settings(tmp_path, picture_folder) -> RunSettings:
    """32 test pictures, all of them noise."""
    root = picture_folder(tmp_path / "many", ["bee", "fox"], each=32)
    return RunSettings("tiny", "minmax", calibration=8, held_out=32, pictures="folder", folder=str(root))


@pytest.mark.parametrize("classes", [6, 0])
def test_a_tried_picture_is_compared_with_those_of_the_run(bench, settings, monkeypatch, classes):
    if not classes:
        headless = vq.wrap_model(timm.create_model("vit_tiny_patch16_224", num_classes=0, **SIZE))
        monkeypatch.setattr(vq, "load_model", lambda model_id: headless)
    outcome = bench.quantize(settings)
    black = bench.classify(settings, Image.new("RGB", (20, 20)))
    own = bench.classify(settings, outcome.reference.samples[0].read())
    assert black.unlike is True and own.unlike is False
    assert markup.UNLIKE in markup.verdict(black)
    assert "About 6 % of usual pictures" in markup.facts(outcome)


def test_calibration_pictures_that_will_not_do_are_warned_of_with_their_number(bench, settings):
    outcome = bench.quantize(settings)
    assert "nearly the same" in markup.facts(outcome)
    found = Health(32, repeated=24, nearer=0.02, beyond=0.2)
    warned = replace(outcome, health=found)
    for number in ("24 of 32 calibration pictures", "2 % of the test pictures", "in 20 % of the cases"):
        assert number in warned.warning
    assert "24 of 32 are nearly the same" in markup.facts(warned)
    good = replace(outcome, health=Health(32, repeated=0, nearer=0.5, beyond=0.03))
    assert good.warning == outcome.about_pictures
    old = replace(outcome, health=None)  # stored by a program of an earlier time
    assert old.warning == outcome.about_pictures and "nearly the same" not in markup.facts(old)


def test_with_few_test_pictures_nothing_is_said_of_a_tried_one(bench, settings):
    few = replace(settings, held_out=4)
    assert bench.classify(few, Image.new("RGB", (20, 20))).unlike is None
    assert "Not told: it takes at least 32" in markup.facts(bench.outcome(few))


def test_steps_that_were_tried_and_left_out_are_named(bench, settings):
    outcome = bench.quantize(settings)
    assert "Compared" not in markup.facts(outcome)
    rows = (
        vq.StageRow("one", "turning heads", 0.1, 0.2, False),
        vq.StageRow("two", "<other>", 0.1, 0.05, True),
    )
    tried = replace(outcome.result, report=replace(outcome.result.report, stages=rows))
    said = markup.facts(replace(outcome, result=tried))
    assert "kept: &lt;other&gt;; left out, because answers were worse with it: turning heads." in said


def test_arithmetic_has_full_precisions_beside_it(bench, settings):
    outcome = bench.quantize(settings)
    report = outcome.result.report
    macs = {row.layer: row.macs for row in report.sites}
    assert report.fp32_gbops == pytest.approx(sum(macs.values()) * 1024 / 1e9)
    assert f"against {report.fp32_gbops:.1f} in full precision" in text_of(markup.cards(outcome))
