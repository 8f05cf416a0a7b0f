"""The page of all runs without a browser: sweeps, the chart, two runs side by side, budgets, predictions."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

import vitq_core as vq
from tests import nasty
from ui.explaining.affording import STEPS, predicted_from
from ui.explaining.scoring import Scoring
from ui.parts.jobs import Job
from ui.parts.model_bar import ModelBar
from ui.quantize.form import build_form
from ui.quantize.results import build_results
from ui.quantize.tab import Page as QuantizePage
from ui.tradeoffs import settings, view
from ui.tradeoffs.chart import FRONT, Guess, chart
from ui.tradeoffs.points import COSTS, comparable, front, points_of
from ui.tradeoffs.tab import Page
from ui.workbench import Workbench
from vitq_core.experiment import is_number

ME = SimpleNamespace(session_hash="me")
MODEL, SOON = "demo-vit", 120.0
GOOD = {
    "model": MODEL, "method": "minmax", "bits": 4, "judged": 8, "calibration": 32, "held_out": 8, "seed": 0,
    "pictures": "own", "folder": "", "uploads": None,
}  # fmt: skip
# Not the files of pictures, which are built in here, nor the scenes of other models.
CHECKED = [field for field in GOOD if field not in ("folder", "uploads", "judged")]


@pytest.fixture(scope="module")
def bench(tmp_path_factory, tiny_model) -> Workbench:
    patch = pytest.MonkeyPatch()
    patch.setenv("VITQ_HOME", str(tmp_path_factory.mktemp("home")))
    patch.delenv("SPACE_ID", raising=False)
    patch.setattr(vq, "load_model", lambda model_id: tiny_model)
    yield Workbench()
    patch.undo()


@pytest.fixture(scope="module")
def page(bench) -> Page:
    with gr.Blocks(), gr.Tab("Trade-offs"):
        return Page(bench, ModelBar())


@pytest.fixture
def held(page) -> dict[Any, Any]:
    """What a browser holds that has just opened the page."""
    runs, afford = page.runs, page.afford
    values = {component: GOOD[name] for name, component in runs.fields.items()}
    values |= {runs.cost: "size", runs.chosen: None, runs.plan: None, runs.guess: None, runs.name: ""}
    return values | {
        afford.size: 1.6, afford.loss: 1.0, afford.pinned: [], afford.pin_bits: 8, afford.budget: None,
    }  # fmt: skip


@pytest.fixture
def swept(page, bench, held) -> dict[Any, Any]:
    """The same after all bits were tried, once in this module."""
    seen = page.runs.sweep_bits(held, ME)
    assert bench.sweeps.wait(SOON)
    return {**held, page.runs.plan: seen[page.runs.plan]}


def test_all_bits_are_tried_once_and_fill_the_chart(page, bench, swept):
    runs = page.runs
    seen = runs.show(swept, ME)
    assert "5 of 5 runs done" in seen[runs.status] and "vq-done" in seen[runs.status]
    assert [row[1] for row in seen[runs.table]["value"]] == [f"W{b}/A{b}" for b in sorted(settings.BITS)]
    assert seen[runs.note] == view.drawn(0) and not seen[runs.timer].active
    made = len(bench.runs.all())
    runs.sweep_bits(swept, ME)
    assert bench.sweeps.wait(SOON) and len(bench.runs.all()) == made
    names = {trace.name for trace in seen[runs.plot].data}
    assert names == {FRONT, vq.RECIPES["minmax"].title}
    for cost, (title, unit) in COSTS.items():
        figure = runs.show({**swept, runs.cost: cost}, ME)[runs.plot]
        assert figure.layout.xaxis.title.text == f"{title} ({unit})"


def test_it_begins_empty_and_says_what_to_do(page, held, bench, monkeypatch):
    monkeypatch.setattr(bench.runs, "all", lambda owners: [])
    seen = page.runs.open(held, ME)
    assert not seen[page.runs.table]["visible"] and "Press “Try 8, 6, 4, 3, 2 bits”" in seen[page.runs.note]
    assert not seen[page.runs.tools]["visible"]


def test_two_runs_stand_side_by_side_are_renamed_and_deleted(page, bench, swept):
    runs = page.runs
    rows = runs.show(swept, ME)[runs.table]["value"]
    held = dict(swept)
    for row in rows[:3]:
        seen = runs.choose(held, ME, SimpleNamespace(row_value=row))
        held[runs.chosen] = seen[runs.chosen]
    assert held[runs.chosen] == [rows[1][-1], rows[2][-1]]
    assert seen[runs.details].count("python -m vitq_core.experiment.runs.rerun") == 2
    seen = runs.renamed({**held, runs.name: "<b>mine</b>"}, ME)
    assert bench.runs.get(rows[2][-1]).name == "<b>mine</b>"
    assert "<b>mine" not in seen[runs.details] and "&lt;b&gt;mine" in seen[runs.details]
    assert "1 to 200 characters" in runs.renamed({**held, runs.name: ""}, ME)[runs.status]
    runs.renamed({**held, runs.name: rows[2][0]}, ME)
    twin = bench.runs.get(rows[0][-1])
    bench.runs.add(twin.for_owner(""))
    (extra,) = {record.id for record in bench.runs.all()} - {row[-1] for row in rows}
    runs.deleted({**held, runs.chosen: [extra]}, ME)
    assert bench.runs.get(extra) is None and len(bench.runs.all()) == len(rows)
    assert "no such run of yours" in runs.deleted({**held, runs.chosen: [extra]}, ME)[runs.status]
    assert "Click on a row" in runs.deleted({**held, runs.chosen: []}, ME)[runs.status]


def test_the_run_clicked_on_last_stays_the_last_whatever_is_shown_again(page, bench, swept):
    """It is the one that is opened, renamed or deleted."""
    runs = page.runs
    first, second = (row[-1] for row in runs.show(swept, ME)[runs.table]["value"][:2])
    for chosen in ([first, second], [second, first]):
        held = {**swept, runs.chosen: chosen}
        assert runs.show({**held, runs.cost: "compute"}, ME)[runs.chosen] == chosen
        assert runs.open(held, ME)[runs.chosen] == chosen
        opened = runs.opened({**held, **runs.show(held, ME)}, ME)
        assert opened.weight_bits == bench.runs.get(chosen[-1]).asked.recipe.weight_bits


def test_a_look_at_a_sweep_that_is_answered_late_takes_no_click_back(page, swept):
    runs = page.runs
    seen = runs.tick({**swept, runs.chosen: None}, ME)
    assert not seen.keys() & {runs.chosen, runs.details, runs.tools, runs.name}
    assert seen.keys() >= {runs.status, runs.plot, runs.table, runs.timer}


def test_after_one_of_two_is_deleted_the_other_has_its_name(page, bench, swept):
    runs = page.runs
    kept = runs.show(swept, ME)[runs.table]["value"][0]
    before = {record.id for record in bench.runs.all()}
    bench.runs.add(bench.runs.get(kept[-1]).for_owner(""))
    (extra,) = {record.id for record in bench.runs.all()} - before
    seen = runs.deleted({**swept, runs.chosen: [kept[-1], extra], runs.name: "another"}, ME)
    assert seen[runs.chosen] == [kept[-1]] and seen[runs.name] == kept[0]


def test_the_table_for_other_programs_has_every_run(page, bench, swept):
    with Path(page.runs.file(ME)).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["id"] for row in rows} == {record.id for record in bench.runs.all()}


def test_no_other_run_beats_one_of_the_front(bench, swept):
    points = points_of(bench.runs.all(), MODEL)
    for cost in COSTS:
        best = front(points, cost)
        for point in points:
            beaten = any(
                other.cost(cost) <= point.cost(cost) and other.quality.value > point.quality.value
                for other in points
            )
            assert (point in best) <= (not beaten)
    assert comparable(points) == points and points_of(bench.runs.all(), "another") == []


@pytest.mark.parametrize("field", CHECKED)
def test_what_no_sweep_can_be_made_of_is_said(page, held, field):
    for value in nasty.SENT.values():
        seen = page.runs.sweep_methods({**held, page.runs.fields[field]: value}, ME)
        assert "Check the settings" in seen[page.runs.status]


def test_scenes_count_for_segment_anything_alone(page, held):
    fields = page.runs.fields
    asked = {**held, fields["model"]: "demo-sam", fields["judged"]: 0.5}
    assert fields["judged"].label in page.runs.sweep_methods(asked, ME)[page.runs.status]
    values = page.runs.values(held) | {"pictures": "folder", "folder": " x ", "judged": 0.5}
    assert settings.problems(values) == {}
    assert settings.data_of(values) == {
        "calibration": 32, "held_out": 8, "seed": 0, "pictures": "folder", "folder": "x",
    }  # fmt: skip
    assert settings.data_of({"model": "demo-sam", "judged": 5}) == {"judged": 5}


def test_one_sweep_at_a_time(page, bench, held, monkeypatch):
    monkeypatch.setattr(bench.sweeps, "newest", lambda owner, kinds: SimpleNamespace(state="running"))
    assert "One sweep at a time" in page.runs.sweep_bits(held, ME)[page.runs.status]


def test_budgets_have_bits_a_price_and_a_prediction(page, bench, swept):
    afford, runs = page.afford, page.runs
    held = {**swept, runs.fields["method"]: "vitq"}
    assert "Press Measure the layers first" in afford.by_size(held, ME)[afford.cards]
    seen = afford.measure(held, lambda done, said: None, Job())
    assert seen[afford.sliders]["visible"] and "too few runs" in seen[afford.cards]
    low, high = seen[afford.size]["minimum"], seen[afford.size]["maximum"]
    assert low < seen[afford.size]["value"] < high
    assert "Nothing can be predicted" in afford.by_loss(held, ME)[afford.cards]
    runs.sweep_bits(held, ME)
    assert bench.sweeps.wait(SOON)
    small, large = (afford.by_size({**held, afford.size: size}, ME) for size in (low, high))
    assert small[afford.budget][0] == STEPS[0] and large[afford.budget][0] == STEPS[-1]
    assert "off by" in large[afford.cards] and large[runs.guess]["model"] == MODEL
    assert "Predicted" in {trace.name for trace in large[runs.plot].data}
    strict, loose = (afford.by_loss({**held, afford.loss: points}, ME) for points in (0.0, 30.0))
    assert loose[afford.budget][0] <= strict[afford.budget][0]
    pinned = afford.by_size({**held, afford.size: high, afford.pinned: ["head"], afford.pin_bits: 2}, ME)
    assert pinned[afford.budget][1] == [["head", 2, 2]]


def test_the_run_that_checks_a_prediction_is_made_and_drawn_beside_it(page, bench, swept):
    afford, runs = page.afford, page.runs
    afford.measure(swept, lambda done, said: None, Job())
    held = {**swept, afford.budget: [3.5, [["head", 8, 8]]]}
    seen = afford.made(held, ME)
    assert bench.sweeps.wait(SOON)
    sweep = bench.sweeps.sweep(seen[runs.plan])
    assert sweep.done == 1 and not sweep.failed
    newest = bench.runs.all()[0]
    expected = bench.affording.within(Scoring(MODEL), 3.5, (("head", 8, 8),))
    assert {layer: tuple(bits) for layer, bits in newest.results["bits"].items()} == expected.table
    assert newest.results["size_mb"] == pytest.approx(expected.cost.size_mb, rel=0.1)
    assert newest.results["avg_weight_bits"] <= 3.5 and newest.results["avg_act_bits"] <= 3.5
    assert "Move a slider first" in afford.made({**held, afford.budget: None}, ME)[runs.status]


@pytest.mark.parametrize("part", ["size", "loss", "pinned", "pin_bits"])
def test_what_no_slider_sends_is_a_sentence(page, held, part):
    afford = page.afford
    afford.measure(held, lambda done, said: None, Job())
    for value in nasty.SENT.values():
        asked = {**held, getattr(afford, part): value}
        asked |= {afford.pinned: ["head"]} if part == "pin_bits" else {}
        for handler in (afford.by_size, afford.by_loss):
            said = handler(asked, ME)[afford.cards]
            assert "unexpected" not in said and ("vq-error" in said or "vq-card" in said)
            if part in ("size", "loss") and handler is (afford.by_size if part == "size" else afford.by_loss):
                assert "A number from 0 on." in said or is_number(value) or part == "loss"


@pytest.mark.parametrize("field", CHECKED)
def test_a_check_of_what_cannot_be_is_a_sentence(page, held, field):
    afford, runs = page.afford, page.runs
    afford.measure(held, lambda done, said: None, Job())
    ready = {**held, afford.budget: [4.0, []]}
    for value in nasty.SENT.values():
        said = afford.made({**ready, runs.fields[field]: value}, ME)[runs.status]
        assert "vq-error" in said and "unexpected" not in said
        for handler in (afford.forget, runs.show):
            handler({**ready, runs.fields[field]: value}, ME)


def test_a_budget_is_about_the_pictures_that_the_bar_names(bench, held):
    with gr.Blocks() as studio, gr.Tab("Trade-offs") as tab:
        page = Page(bench, ModelBar())
        page.connect(tab)
    afford, fields = page.afford, page.runs.fields
    followed = [event for event in studio.fns.values() if {*afford.outputs} == {*event.outputs}]
    heard = {(component, name) for event in followed for component, name in event.targets}
    for field in ("model", "pictures", "uploads", "seed"):
        assert (fields[field]._id, "change") in heard
    mine = {component: GOOD[name] for name, component in fields.items()} | {afford.budget: [4.0, []]}
    mine |= {page.runs.guess: None, page.runs.cost: "size", afford.pinned: [], afford.pin_bits: 8}
    afford.measure(mine, lambda done, said: None, Job())
    assert afford.forget(mine, ME)[afford.sliders]["visible"]
    assert not afford.forget({**mine, fields["seed"]: 5}, ME)[afford.sliders]["visible"]


def test_the_sizes_slider_follows_the_loss_that_was_asked_for(page, bench, swept):
    afford = page.afford
    afford.measure(swept, lambda done, said: None, Job())
    page.runs.sweep_bits({**swept, page.runs.fields["method"]: "vitq"}, ME)
    assert bench.sweeps.wait(SOON)
    by_loss = afford.by_loss({**swept, afford.loss: 5.0}, ME)
    by_size = afford.by_size({**swept, afford.size: by_loss[afford.size]}, ME)
    assert by_size[afford.budget] == by_loss[afford.budget]


def test_stored_runs_that_cannot_be_read_are_a_sentence(page, bench, swept, monkeypatch):
    def damaged(owners):
        raise vq.StorageError("the runs in /secret/place are damaged", "stored runs are damaged")

    row = page.runs.show(swept, ME)[page.runs.table]["value"][0]
    monkeypatch.setattr(bench.runs, "all", damaged)
    for seen in (page.runs.show(swept, ME), page.runs.choose(swept, ME, SimpleNamespace(row_value=row))):
        assert "stored runs are damaged." in seen[page.runs.status] and "secret" not in str(seen)
    with pytest.raises(gr.Error, match="stored runs are damaged"):
        page.runs.file(ME)


def test_mixed_bits_are_opened_with_their_result_alone(page, bench, swept, monkeypatch):
    afford, runs = page.afford, page.runs
    afford.measure(swept, lambda done, said: None, Job())
    afford.made({**swept, afford.budget: [5.0, []]}, ME)
    assert bench.sweeps.wait(SOON)
    mixed = next(record for record in bench.runs.all() if record.asked.recipe.bits)
    held = {**swept, runs.chosen: [mixed.id]}
    assert runs.opened(held, ME).table
    monkeypatch.setattr(bench, "outcome", lambda settings: None)
    with pytest.raises(ValueError, match="bits of its own for every layer"):
        runs.opened(held, ME)


def test_on_a_public_server_everybody_sees_their_own(page, bench, swept, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "somebody/studio")
    mine, theirs = "a" * 32, "b" * 32
    for session, token in (("me", mine), ("they", theirs)):
        bench.visitors.know(session, token)
    bench.keep(bench.runs.all()[0], mine)
    they, nobody = SimpleNamespace(session_hash="they"), SimpleNamespace(session_hash="unknown")
    assert len(page.runs.show(swept, ME)[page.runs.table]["value"]) == 1
    for other in (they, nobody):
        seen = page.runs.show(swept, other)
        assert seen[page.runs.table]["value"] == []
    (own,) = bench.runs_of(mine)
    held = {**swept, page.runs.chosen: [own.id]}
    assert "no such run of yours" in page.runs.deleted(held, they)[page.runs.status]
    bench.runs.delete(own.id, mine)
    bench.visitors.forget("me")


def test_a_run_is_opened_in_the_form_that_made_it(page, bench, swept):
    uniform = [record for record in bench.runs.all() if not record.asked.recipe.bits]
    chosen = next(record for record in uniform if record.asked.recipe.weight_bits == 3)
    settings = page.runs.opened({**swept, page.runs.chosen: [chosen.id]}, ME)
    with gr.Blocks():
        quantize = QuantizePage(bench, build_form(ModelBar()), build_results(), gr.State(None))
    seen, fields = quantize.load(settings), quantize.form.fields
    said = [seen[fields[name]]["value"] for name in ("weight_bits", "act_bits", "held_out", "recipe")]
    assert said == [3, 3, GOOD["judged"], chosen.asked.recipe.name]
    assert "W3/A3" in seen[quantize.results.status] and seen[quantize.shown] == settings
    for nothing in (None, ["no run"]):
        with pytest.raises(ValueError, match="Click on a row"):
            page.runs.opened({**swept, page.runs.chosen: nothing}, ME)


def test_a_guess_is_drawn_where_it_is_and_nothing_of_nothing(bench, swept):
    assert not chart([], "size").data
    points = points_of(bench.runs.all(), MODEL)
    figure = chart(points, "size", Guess("a budget", 1.5, 0.9, 0.01))
    assert figure.data[-1].name == "Predicted" and figure.data[-1].y == (90.0,)
    assert predicted_from([(0.1, 1.0)]) is None
