"""The workbench, with the real engine on a tiny model."""

import os
import zipfile
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from dataclasses import replace

import gradio as gr
import pytest
import torch
from PIL import Image

import vitq_core as vq
from tests.shown import text_of
from ui.explaining.scoring import Scoring
from ui.parts import markup, plots, tables
from ui.parts.jobs import Job
from ui.parts.settings import RunSettings
from ui.parts.user_sources import choose_source
from ui.running.run_parts import pack
from vitq_core.experiment import generated


@pytest.fixture
def settings(folder) -> RunSettings:
    return RunSettings("tiny", "repq", 3, 3, calibration=4, held_out=4, pictures="folder", folder=str(folder))


@pytest.fixture
def outcome(bench, settings):
    return bench.quantize(settings)


def test_keeps_what_both_models_said_about_every_picture(outcome, tiny_model):
    batch = torch.stack([tiny_model.preprocess(sample.read()) for sample in outcome.reference.samples])
    with torch.inference_mode():
        torch.testing.assert_close(outcome.reference.logits, tiny_model.module(batch))
        torch.testing.assert_close(outcome.logits, outcome.result.model(batch))


def test_numbers_of_page_and_engine_agree(outcome):
    assert outcome.evaluation.agreement == pytest.approx(1 - outcome.flips.double().mean().item())
    change, margin = outcome.change_in_accuracy
    assert change == pytest.approx(outcome.evaluation.top1 - outcome.reference.evaluation.top1)
    assert margin >= 0


def test_flipped_predictions_come_first(outcome):
    flipped = [bool(outcome.flips[index]) for index in outcome.order]
    assert flipped == sorted(flipped, reverse=True)
    assert sorted(outcome.order) == list(range(len(outcome.flips)))


def test_equal_settings_share_a_result_and_the_reference_is_measured_once(bench, settings, outcome):
    assert bench.quantize(settings) is outcome
    other = bench.quantize(RunSettings(**{**vars(settings), "recipe": "minmax"}))
    assert other is not outcome
    assert other.reference is outcome.reference


def test_cancelling_keeps_nothing_and_leaves_the_workbench_usable(bench, settings):
    job = Job()
    job.abandon()
    with pytest.raises(vq.Cancelled):
        bench.quantize(settings, job=job)
    assert bench.outcome(settings) is None
    assert bench.quantize(settings).evaluation.n == 4


def test_progress_runs_from_zero_to_one(bench, settings):
    seen = []
    bench.quantize(settings, progress=lambda fraction, message: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert seen[-1] == pytest.approx(1)


def test_classify_answers_like_the_models(bench, settings, outcome):
    pair = bench.classify(settings, outcome.reference.samples[0].read())
    expected = outcome.pair(0)
    assert [name for name, _ in pair.full] == [name for name, _ in expected.full]
    assert pair.quantized[0][1] == pytest.approx(expected.quantized[0][1], abs=1e-5)


def test_the_download_loads_and_is_the_same_model(bench, settings, outcome, tmp_path):
    with zipfile.ZipFile(bench.download(settings)) as archive:
        archive.extractall(tmp_path)
    loaded = vq.load_quantized(tmp_path / settings.slug)
    batch = torch.rand(2, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(loaded.model(batch), outcome.result.model(batch))


def test_a_result_is_packed_once_and_always_into_the_same_bytes(bench, settings, outcome, monkeypatch):
    path = bench.download(settings)
    packed = path.read_bytes()
    monkeypatch.setattr("ui.workbench.vq.save_quantized", None)  # a second call would fail
    assert bench.download(settings) == path
    monkeypatch.undo()
    path.unlink()
    assert bench.download(settings) == path and path.read_bytes() == packed
    assert len(list(path.parent.parent.iterdir())) == 1


def test_another_result_of_the_same_settings_is_packed_anew(bench, settings, outcome):
    bench.download(settings)
    other = replace(outcome, result=bench.quantize(replace(settings, recipe="minmax")).result)
    bench._outcomes.put(settings, other)
    with zipfile.ZipFile(bench.download(settings)) as archive:
        assert '"minmax"' in archive.read(f"{settings.slug}/vitq.json").decode()


def test_a_result_is_packed_during_another_run_but_not_while_its_model_answers(bench, settings, outcome):
    with ThreadPoolExecutor(1) as others:
        with bench.computing():
            assert bench.busy()
            assert others.submit(pack, bench, settings).result(timeout=60).endswith(".zip")
        assert not bench.busy()
        bench.download(settings).unlink()
        with bench.result_lock(outcome.result):
            packing = others.submit(pack, bench, settings)
            with pytest.raises(TimeoutError):
                packing.result(timeout=0.2)
        assert packing.result(timeout=60).endswith(".zip")


def test_downloads_are_bounded_in_number(bench, settings, outcome, monkeypatch):
    monkeypatch.setattr("ui.workbench.KEPT_DOWNLOADS", 2)
    paths = []
    for seed in range(3):
        bench._outcomes.put(
            replace(settings, seed=seed),
            replace(outcome, settings=replace(settings, seed=seed, weight_bits=seed + 3)),
        )
        paths.append(bench.download(replace(settings, seed=seed)))
        os.utime(paths[-1].parent, (seed + 1, seed + 1))
    assert [path.exists() for path in paths] == [False, True, True]


def test_the_page_packs_at_a_click_and_says_where_there_is_nothing_to_pack(bench, settings, outcome):
    assert pack(bench, settings) == str(bench.download(settings))
    for gone in (None, replace(settings, seed=5)):
        with pytest.raises(gr.Error, match="no longer in memory"):
            pack(bench, gone)


def test_the_page_shows_every_site_and_escapes_names(outcome):
    report = outcome.result.report
    figure = plots.sqnr_figure(report.sites)
    assert sum(len(trace.x) for trace in figure.data) == len(report.sites)
    assert len(figure.data) == len({row.role for row in report.sites})
    rows = tables.site_rows(report.sites)
    assert len(rows) == len(report.sites)
    assert {len(row) for row in rows} == {len(tables.HEADERS)} == {len(tables.TYPES)}
    assert "<b>&lt;i&gt;</b>" in markup.bars("x", [("<i>", 0.5)], "full")


def test_cards_say_what_is_missing_without_labels(bench):
    unlabelled = bench.quantize(RunSettings("tiny", "minmax", calibration=2, held_out=3))
    assert markup.NEEDS_LABELS in markup.cards(unlabelled)
    assert "points" not in markup.cards(unlabelled)
    assert unlabelled.warning


def test_a_verdict_stands_above_the_cards(outcome):
    found = markup.judged(outcome)
    assert markup.cards(outcome).startswith(markup.banner(found.kind, found.said, found.advice))
    assert f"{int(outcome.flips.sum())} of 4 answers changed" in found.said


def test_pictures_that_cannot_be_read_are_counted(bench, tmp_path, picture_folder):
    for part in ("train", "test"):
        picture_folder(tmp_path / "pictures" / part, ["bee", "fox"], each=2)
    folder = tmp_path / "pictures"
    (folder / "notes.txt").write_text("no picture")
    for path in folder.glob("*/bee/*.png"):
        path.write_text("spoilt")
    settings = RunSettings("tiny", "minmax", calibration=4, held_out=4, pictures="folder", folder=str(folder))
    outcome = bench.quantize(settings)
    assert len(outcome.reference.left_out) == outcome.evaluation.n == 2
    assert len(outcome.left_out) == outcome.result.report.pictures == 2
    facts = text_of(markup.facts(outcome))
    assert all(name in facts for name in outcome.left_out + outcome.reference.left_out)
    first = outcome.warning.partition(".png")[0]
    assert first.startswith(markup.pictures(len(outcome.left_out)) + " to calibrate could not be read")
    assert f"{markup.pictures(len(outcome.reference.left_out))} to test could not be read" in outcome.warning
    assert all(name in outcome.warning for name in outcome.left_out + outcome.reference.left_out)
    assert "Left out of calibration" in facts
    assert "Left out of testing" in facts
    assert "1 file is no picture" in facts


def test_what_cannot_be_read_is_told_before_a_folder_is_halved(bench, folder):
    for path in folder.glob("bee/*.png"):
        path.write_text("spoilt")
    settings = RunSettings("tiny", "minmax", calibration=4, held_out=4, pictures="folder", folder=str(folder))
    outcome = bench.quantize(settings)
    assert outcome.evaluation.n == outcome.result.report.pictures == 2
    assert "4 of 8 pictures could not be read and were left out: bee/" in outcome.warning
    assert "There are 4 in all" in text_of(markup.facts(outcome))


def test_a_number_from_few_pictures_says_so(bench):
    said = "Only 49 pictures to test on"
    few, enough = (
        markup.cards(bench.quantize(RunSettings("tiny", "minmax", calibration=2, held_out=count)))
        for count in (49, 50)
    )
    assert said in few
    assert "to test on" not in enough


def test_an_upload_of_any_mode_is_classified(bench, settings, outcome):
    assert len(bench.classify(settings, Image.new("RGB", (50, 10))).full) == 5


def test_the_bits_that_values_really_take_are_said_where_they_differ(outcome):
    report = outcome.result.report
    assert "exact values" not in text_of(markup.cards(outcome))  # every value has a code
    more = replace(report, effective_act_bits=report.avg_act_bits + 0.5)
    kept = replace(outcome, result=replace(outcome.result, report=more))
    assert f"{markup.short(more.effective_act_bits)} counting the exact values" in text_of(markup.cards(kept))


def test_uploads_that_are_gone_are_a_sentence(bench, folder):
    uploads = tuple(str(path) for path in sorted(folder.glob("*/*.png")))
    settings = RunSettings("tiny", "minmax", calibration=4, held_out=4, pictures="uploads", uploads=uploads)
    assert bench.quantize(settings).evaluation.n == 4
    for path in folder.glob("bee/*.png"):
        path.unlink()
    with pytest.raises(ValueError, match=r"^0\.png \(and 3 more\) is no longer on the server; upload your"):
        bench.quantize(replace(settings, recipe="repq"))


def test_without_pictures_the_model_makes_its_own(bench, tiny_model, monkeypatch):
    monkeypatch.setattr(generated, "ITERATIONS", 1)
    settings = RunSettings("tiny", "minmax", calibration=3, held_out=4, pictures="generated")
    assert (
        choose_source(tiny_model, settings).judging.key
        == choose_source(tiny_model, RunSettings("tiny", "minmax")).key
    )
    outcome = bench.quantize(settings)
    assert outcome.result.report.pictures == 3 and outcome.evaluation.n == 4
    assert "from noise" in outcome.warning and "from noise" in outcome.about
    assert outcome.record.asked.pictures == "generated"
    scoring = Scoring("tiny", "sqnr", count=2, pictures="generated")
    assert bench.relevance.score(scoring).pictures == 2


def test_a_data_set_of_the_hub_is_used_like_a_folder(bench, folder, monkeypatch):
    asked, name = [], "hf://datasets/user/set"
    monkeypatch.setattr(
        "vitq_core.experiment.folders.fetch_pictures", lambda dataset, **_: asked.append(dataset) or folder
    )
    settings = RunSettings("tiny", "minmax", calibration=2, held_out=2, pictures="folder", folder=name)
    outcome = bench.quantize(settings)
    assert asked == [name] and f"{name}: half of its pictures" in text_of(markup.facts(outcome))
    monkeypatch.setenv("SPACE_ID", "user/space")
    with pytest.raises(ValueError, match="On a public server folders cannot be named"):
        choose_source(bench.model("tiny"), settings)
