"""Measuring both models on the page: its pictures, its table, and the run that is kept of it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

import vitq_core as vq
from tests import nasty
from ui.parts.jobs import Job
from ui.segment import judging
from ui.segment.settings import SamSettings
from vitq_core.experiment.runs import RunStore, rerun

ASKED = SamSettings("tiny-sam", "minmax", calibration=1)
GOOD = {"judges": "scenes", "count": 2, "file": None}


def quietly(done: float, said: str) -> None:
    """Nobody listens."""


@pytest.fixture
def me(page, visitor):
    me = visitor().opens()
    page.bench.quantize(ASKED)
    me.held |= {page.board.shown: ASKED, page.form.fields["model"]: "tiny-sam"}
    me.held |= {part: GOOD[name] for name, part in page.measuring.fields.items()}
    return me


@pytest.mark.parametrize("field", ["judges", "count"])
def test_every_field(field):
    assert judging.from_form(GOOD).title == "2 scenes"
    for value in nasty.SENT.values():
        found = judging.problems({**GOOD, field: value})
        assert field in found and nasty.sentence(found[field]).endswith(".")
        with pytest.raises(ValueError, match=r"\.$"):
            judging.from_form({**GOOD, field: value})


@pytest.mark.parametrize("file", [None, "", 3, ["a.zip"], "a.png"])
def test_own_photographs_need_a_zip(file):
    assert judging.problems({**GOOD, "judges": "uploads", "file": file}) == {"file": judging.NO_FILE}
    assert judging.problems({**GOOD, "file": file}) == {}


def test_both_models_numbers_are_shown_kept_and_downloaded(page, me):
    section = page.measuring
    me.takes(section.measure(me.held, quietly, Job()))
    assert "From three clicks" in me.seen[section.table] and "±" in me.seen[section.table]
    assert "2 scenes" in me.seen[section.status] and "objects in 2 pictures" in me.seen[section.status]
    (record,) = RunStore().all()
    assert record.id == me.held[section.numbers] and record.task == "segmentation"
    assert record.results["quantized"]["pictures"] == 2 and record.asked.calibration == 1
    content = json.loads(Path(section.file(record.id)).read_text())
    assert content["results"]["full"]["box_iou"] == list(record.results["full"]["box_iou"])


def test_a_kept_run_says_all_that_is_needed_to_run_it_again(page, me, monkeypatch):
    me.takes(page.measuring.measure(me.held, quietly, Job()))
    (record,) = RunStore().all()
    monkeypatch.setattr(rerun, "load_model", page.bench.bench.model)
    again = rerun.carry_out(record.asked)
    assert again.key == record.key
    assert not list(rerun.differences(record.results, again.results))


def test_a_sweep_makes_a_run_once_and_says_which_pictures_judged(page, bench):
    kind = bench.bench.kinds["masks"]
    wanted = json.loads(json.dumps(kind.plan("tiny-sam", "minmax", 6, 1)))  # as a plan is kept
    for owner in ("", "", "somebody"):
        kind.make(wanted, owner, quietly, Job())
    assert [record.owner for record in RunStore().all(("", "somebody"))] == ["somebody", ""]
    (record,) = RunStore().all()
    assert record.asked.judged == 1 and len(record.made_of["pictures"]) == 64
    assert record.settings["weight_bits"] == 6
    job = Job()
    job.abandon()
    other = kind.plan("tiny-sam", "minmax", 5, 1)
    with pytest.raises(vq.Cancelled):
        kind.make(other, "", quietly, job)
    assert len(RunStore().all()) == 1


def test_own_photographs_judge_and_their_place_stays_on_the_server(page, me, tmp_path):
    path = tmp_path / "mine.zip"
    Image.fromarray(np.arange(2400, dtype=np.uint8).reshape(40, 60)).save(tmp_path / "a.png")
    outline = {"image_id": 1, "id": 1, "segmentation": [[5, 5, 30, 5, 30, 30, 5, 30]]}
    listed = {"id": 1, "file_name": "a.png", "width": 60, "height": 40}
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tmp_path / "a.png", "a.png")
        archive.writestr("instances.json", json.dumps({"images": [listed], "annotations": [outline]}))
    fields = page.measuring.fields
    me.held |= {fields["judges"]: "uploads", fields["file"]: str(path)}
    me.takes(page.measuring.measure(me.held, quietly, Job()))
    assert "1 object in 1 picture" in me.seen[page.measuring.status]
    text = Path(page.measuring.file(me.held[page.measuring.numbers])).read_text()
    assert "mine.zip" in text and str(tmp_path) not in text


def test_without_a_quantized_model_or_numbers_there_is_a_sentence(page, me):
    with pytest.raises(ValueError, match="Press Quantize first"):
        page.measuring.measure({**me.held, page.board.shown: None}, quietly, Job())
    for nothing in (None, "no run"):
        with pytest.raises(gr.Error, match="There are no numbers yet"):
            page.measuring.file(nothing)
    job = Job()
    job.abandon()
    with pytest.raises(vq.Cancelled):
        page.measuring.measure(me.held, quietly, job)
    assert RunStore().all() == []
