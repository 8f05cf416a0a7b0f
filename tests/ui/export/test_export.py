"""The page of exports without a browser: what is chosen, refused, exported, found again, downloaded."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

import vitq_core as vq
from tests import nasty
from tests.awaiting import awaited
from tests.shown import text_of
from ui.export import aims, choosing, view
from ui.export.endpoint import _export
from ui.export.making import EXPORT, INTEGER, Exports, Refused
from ui.export.tab import Page
from ui.parts.jobs import Job
from ui.parts.model_bar import ModelBar
from ui.parts.settings import RunSettings, StoppedRun
from ui.parts.visitors import new_token
from ui.workbench import Workbench

ME, YOU = SimpleNamespace(session_hash="me"), SimpleNamespace(session_hash="you")
OTHERS = [name for name in vq.EXPORTERS if name != "packed"]


MEDIANS = {"A": 0.02, "B": 0.01, "C": 0.005}
SPEED = vq.SpeedReport(
    tuple(vq.Speed(what, 1, 2, each, each, each) for what, each in MEDIANS.items()),
    tuple(vq.Loading(what, 10 * each, 1000 * each) for what, each in MEDIANS.items()),
    {},
)


@pytest.fixture(autouse=True)
def timed(monkeypatch) -> None:
    """To measure it takes seconds, which one test of the endpoints does."""
    monkeypatch.setattr(vq, "measure_speed", lambda *given, **options: SPEED)


@pytest.fixture
def settings(folder) -> RunSettings:
    return RunSettings(
        "demo-vit", "minmax", 8, 8, calibration=4, held_out=4, pictures="folder", folder=str(folder)
    )


@pytest.fixture
def uneven(settings) -> RunSettings:
    """What has no integer form as it is."""
    return replace(settings, recipe="adfq", weight_bits=4, act_bits=4)


@pytest.fixture
def exports(bench) -> Exports:
    return Exports(bench)


@pytest.fixture
def page(exports) -> Page:
    with gr.Blocks(), gr.Tab("Export"):
        return Page(exports, ModelBar())


def made(bench: Workbench, settings: RunSettings, owner: str = "") -> Any:
    outcome = bench.quantize(settings)
    return outcome, bench.keep(outcome.record, owner)


def held(page: Page, **given: Any) -> dict[Any, Any]:
    """What a browser holds. `given`: by the names of the page's components."""
    values = {
        page.which: None, page.format: "packed", page.listed: None, page.seen: None, page.shown: None,
        page.bar.shown: None, page.bar.shown_masks: None,
    }  # fmt: skip
    return values | {getattr(page, name): value for name, value in given.items()}


def opened(page: Page, request: Any = ME, shown: RunSettings | None = None, **given: Any) -> dict[Any, Any]:
    """What a browser holds after it opened the tab."""
    before = {**held(page, **given), page.bar.shown: shown}
    updates = page.open(before, request)
    values = {page.listed: updates[page.listed], page.seen: updates[page.seen]}
    return {**before, **values, page.which: updates[page.which]["value"]}


def test_a_run_becomes_a_zip_and_a_certificate(page, bench, settings, pressed, tmp_path):
    outcome, record = made(bench, settings)
    data = opened(page)
    assert data[page.which] == record.id and page.settings(data) == settings
    updates = pressed(page.run, data, ME)
    assert f"{settings.title} · Packed" in updates[page.status] and "vq-done" in updates[page.status]
    shown = updates[page.shown]
    assert updates[page.panel]["visible"] and not updates[page.empty]["visible"]
    with zipfile.ZipFile(page.file(shown)) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / f"{settings.slug}-packed"
    stored = vq.Certificate.from_json(json.loads((folder / "certificate.json").read_text()), Path())
    assert stored == shown.certificate and stored.n == 4 and stored.max_difference == 0
    assert stored.accuracy == pytest.approx(outcome.evaluation.top1)
    assert vq.load_quantized(folder).recipe == outcome.result.recipe
    text = text_of(updates[page.certificate])
    for said in ("MB in full precision", "Largest difference", "by a millionth", stored.sha256, "4 pictures"):
        assert said in text
    assert all(sentence in text for sentence in stored.sentences)
    assert json.loads((folder / "speed.json").read_text()) == json.loads(json.dumps(SPEED.to_json()))
    after = {**data, page.shown: shown}
    other = {**after, page.format: OTHERS[0]}
    assert "Below is still" in page.reflect(other, ME)[page.status]
    assert "vq-done" in page.reflect(after, ME)[page.status], "the same choice again"


def test_it_is_written_once_and_again_where_it_is_gone(exports, bench, settings):
    first = exports.export(settings, "packed")
    written = first.path.read_bytes()
    assert exports.export(settings, "packed") is first
    first.path.unlink()
    again = exports.export(settings, "packed")
    assert again is not first and again.path.read_bytes() == written
    bench._outcomes.put(settings, replace(bench.quantize(settings)))
    assert exports.export(settings, "packed") is not again, "another result of the same settings"


def test_exports_are_bounded_in_number(exports, settings, monkeypatch):
    monkeypatch.setattr("ui.workbench.KEPT_DOWNLOADS", 2)
    paths = []
    for bits in (3, 4, 5):
        paths.append(exports.export(replace(settings, weight_bits=bits), "packed").path)
        os.utime(paths[-1].parent, (bits, bits))
    assert [path.exists() for path in paths] == [False, True, True]


def test_a_gone_file_is_a_sentence(page, exports, settings):
    found = exports.export(settings, "packed")
    found.path.unlink()
    for shown in (None, found):
        with pytest.raises(gr.Error, match="no longer on the server"):
            page.file(shown)
    with pytest.raises(ValueError, match="no longer on the server"):
        page.show(SimpleNamespace(made=[found], kind=EXPORT))


def test_the_newest_result_is_chosen_once(page, bench, settings, uneven):
    _, older = made(bench, settings)
    made(bench, uneven)
    data = opened(page, shown=uneven)
    assert page.settings(data) == uneven
    chosen = {**data, page.which: older.id}
    again = page.open(chosen, ME)
    assert again[page.which]["value"] == older.id, "what the visitor chose stays"
    newer = page.open({**chosen, page.bar.shown: replace(settings, weight_bits=5)}, ME)
    assert newer[page.which]["value"] == f"{choosing.ON_A_PAGE} RunSettings"
    assert [name for name, _ in newer[page.which]["choices"]][1:] == [uneven.title, settings.title]


def test_without_a_run_it_says_what_to_do(page):
    data = opened(page)
    assert data[page.which] is None
    verdicts = dict(zip(data, page._validate(data), strict=True))
    assert "Press Quantize" in verdicts[page.which]["message"]
    assert verdicts[page.format]["is_valid"]
    assert "Nothing exported yet" in page.reflect(data, ME)[page.status]


def test_nobody_exports_the_runs_of_others(page, bench, settings, monkeypatch):
    record = bench.quantize(settings).record
    monkeypatch.setenv("SPACE_ID", "somebody/studio")
    tokens = {request: new_token() for request in ("me", "you")}
    for session, token in tokens.items():
        bench.visitors.know(session, token)
    mine = bench.keep(record, tokens["me"])
    assert opened(page)[page.which] == mine.id
    yours = opened(page, YOU)
    assert yours[page.listed] == {} and yours[page.which] is None
    with pytest.raises(ValueError, match="Choose a run"):
        page.wanted({**yours, page.which: mine.id}, EXPORT)
    tokenless = opened(page, SimpleNamespace(session_hash="nobody"))
    assert tokenless[page.listed] == {}
    page.run.start_job(opened(page), ME)
    assert bench.sweeps.wait(120)
    address = page.run._id(ME)
    asks = {"query_params": {"run": address}}
    assert page.run.addressed(SimpleNamespace(session_hash="me", **asks)) is not None
    assert page.run.addressed(SimpleNamespace(session_hash="you", **asks)) is None
    assert page.integer.addressed(SimpleNamespace(session_hash="me", **asks)) is None, "of the other button"


def test_a_page_that_is_opened_again_finds_the_export(page, bench, settings, pressed):
    made(bench, settings)
    pressed(page.run, opened(page), ME)
    again = SimpleNamespace(session_hash="again", query_params={"run": page.run._id(ME)})
    banner, start, _ = page.run.find(again, None)
    assert settings.title in banner and not start["interactive"]
    assert page.integer.find(again, None) == [gr.skip()] * 3
    assert awaited(page.run.go_on(held(page), again))[page.shown].settings == settings


@pytest.mark.parametrize("name", OTHERS[:1])
def test_what_has_no_integer_form_is_offered_one_that_is_judged_first(
    page, bench, uneven, pressed, name, tmp_path
):
    outcome, _ = made(bench, uneven)
    data = opened(page, format=name, shown=uneven)
    seen = page.reflect(data, ME)
    assert f"{aims.title(name)} cannot hold this run" in seen[page.status] and seen[page.offer]["visible"]
    assert "attention values" in text_of(seen[page.status])
    refused = pressed(page.run, data, ME)
    assert "outputs of GELU" in text_of(refused[page.status])
    assert refused[page.offer]["visible"] and refused[page.shown] is None
    updates = pressed(page.integer, data, ME)
    shown = updates[page.shown]
    assert shown.settings == replace(uneven, integer=True) and shown.asked == uneven
    assert "integer form" in updates[page.status] and not updates[page.offer]["visible"]
    judged = text_of(updates[page.judged]["value"])
    after = bench.outcome(shown.settings)
    assert after.reference is outcome.reference, "judged on the same pictures"
    assert after.result.recipe == vq.integer_form(uneven.engine_recipe())
    assert "As it was: demo-vit · ADFQ-ViT" in judged and "Integer form: demo-vit · ADFQ-ViT" in judged
    assert judged.count("Accuracy") == 2
    certificate = shown.certificate
    assert certificate.integer_nodes == certificate.promised and certificate.accuracy is not None
    with zipfile.ZipFile(page.file(shown)) as archive:
        files = {Path(each).name for each in archive.namelist()}
    assert {certificate.path.name, "certificate.json", "README.md"} <= files
    assert "vq-done" in page.reflect({**data, page.shown: shown}, ME).get(page.status, "vq-done")
    kept = [choice.settings for choice in choosing.choices(page.exports, "", ()).values()]
    assert kept == [shown.settings, uneven], "it is a run of its own"


def test_a_run_that_was_stopped_is_exported_as_it_is(exports, bench, settings):
    stopped = StoppedRun(**vars(settings), learned=2, modules=9)
    bench._outcomes.put(stopped, replace(bench.quantize(settings), settings=stopped))
    wanted = json.loads(json.dumps(exports.plan(stopped, "packed")))
    assert exports._make(wanted, "").settings == stopped
    assert exports.source(stopped).integer(stopped) == replace(settings, integer=True)
    with pytest.raises(ValueError, match="no longer in memory"):
        exports.export(replace(stopped, learned=3), "packed")


def test_to_begin_one_export_ends_the_other_of_the_same_page(page, bench, settings):
    made(bench, settings)
    data = opened(page)
    with bench.computing():  # so that neither is done before
        page.integer.start_job(data, ME)
        dropped = page.integer._id(ME)
        page.run.start_job(data, ME)
        assert not page.integer.running(ME) and page.run.running(ME)
    assert bench.sweeps.wait(120)
    assert bench.sweeps.sweep(dropped).made == []
    assert bench.sweeps.sweep(page.run._id(ME)).done == 1


def test_cancelled_it_leaves_nothing(exports, settings):
    job = Job()

    def stop(share: float, said: str) -> None:
        if said.startswith("Writing"):
            job.abandon()

    with pytest.raises(vq.Cancelled):
        exports.export(settings, "packed", stop, job)
    assert list(exports._place.iterdir()) == []


def test_a_format_whose_packages_are_missing_is_shown_with_how_to_install_them(
    page, bench, settings, monkeypatch
):
    name = OTHERS[0]
    monkeypatch.setattr(type(vq.EXPORTERS[name]), "missing", lambda self: ["a-package"])
    assert name in [each for _, each in aims.choices()] and aims.first() != name
    (said,) = [each for each in aims.missing() if aims.title(name) in each]
    assert "takes a-package, not installed here: pip install a-package" in said
    made(bench, settings)
    data = opened(page, format=name)
    verdicts = dict(zip(data, page._validate(data), strict=True))
    assert verdicts[page.format]["message"] == said
    with pytest.raises(ValueError, match="not installed"):
        page.wanted(data, EXPORT)


def test_every_format_is_an_aim_with_a_sentence():
    assert [name for _, name in aims.choices()] == list(vq.EXPORTERS)
    for text, name in aims.choices():
        assert aims.title(name) in text and aims.sentence(name).endswith(".")


def test_the_speed_is_told_beside_full_precisions():
    assert view._speed(SPEED) == (
        "5.0 ms for one picture, with 2 threads: 2.0× as fast as the fastest in full precision (B, 10.0 ms; "
        "A, 20.0 ms)"
    )
    assert view._loading(SPEED) == (
        "0.05 s, 5 MB of memory, the first picture included (A, 0.2 s, 20 MB of memory; "
        "B, 0.1 s, 10 MB of memory)"
    )
    slow = replace(SPEED, speeds=SPEED.speeds[::-1])
    assert "20.0 ms for one picture, with 2 threads: 4.0× slower than the fastest" in view._speed(slow)


def test_a_speed_that_cannot_be_measured_costs_no_export(exports, settings, monkeypatch):
    def fail(*given: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(vq, "measure_speed", fail)
    error = vq.VitqError("no runtime")
    made = exports.export(settings, "packed")
    assert made.path.exists() and made.speed is None
    assert dict(view.facts(made.certificate))["Speed here"] == "not known"
    error = vq.Cancelled("stopped")
    with pytest.raises(vq.Cancelled):
        exports.export(replace(settings, weight_bits=4), "packed")


def test_the_certificate_says_what_is_not_known():
    found = vq.Certificate(
        "x",
        Path("x.bin"),
        2_000_000,
        1_000_000,
        "ab",
        8,
        0.5,
        1.0,
        0.9,
        0.25,
        0.95,
        integer_nodes=3,
        promised=4,
    )
    rows = dict(view.facts(found))
    assert rows["Largest difference"].endswith("moves by 0.25 when its pictures change by a millionth.")
    near = dict(view.facts(replace(found, own_difference=0.5, parts=("y.bin",))))
    assert near["Largest difference"].endswith("so another runtime cannot be expected to be nearer.")
    assert near["File"].startswith("x.bin and y.bin, ")
    assert "2.0× larger" in rows["File"]
    assert rows["Integer products"] == "3 of 4, this machine does not tell how many of them it computes so"
    assert not {"Accuracy", "Same answers", "VitQ's packed file"} & rows.keys()
    assert "<b>" not in view.certificate(replace(found, sentences=("<b>bold</b>",)))


@pytest.mark.parametrize("value", **nasty.named(nasty.SENT))
def test_a_program_that_sends_anything_gets_a_sentence(value, page, bench, settings):
    data = opened(page, shown=settings)
    for component in (page.which, page.format):
        if value in aims.choices():
            continue
        wrong = {**data, component: value}
        page.reflect(wrong, ME)
        page.open(wrong, ME)
        assert not all(each["is_valid"] for each in page._validate(wrong))
        with pytest.raises(ValueError, match=r"Choose"):
            page.wanted(wrong, INTEGER)
    export, good = _export(page.exports), ["demo-vit", "minmax", 4, 4, "packed", False]
    for place in range(len(good)):
        with pytest.raises(gr.Error) as caught:
            export(*good[:place], value, *good[place + 1 :])
        nasty.sentence(str(caught.value.message))


def test_a_refusal_is_no_offer_where_there_is_no_other_form(page, settings):
    shown = page._refused(Refused(settings, "packed", "It is too large."), None)
    assert "It is too large." in shown[page.status] and not shown[page.offer]["visible"]
