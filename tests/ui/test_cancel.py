"""Who cancels does not wait for pictures that are still to be read."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
import torch
from PIL import Image

import vitq_core as vq
from ui.explaining.scoring import Scoring
from ui.parts.jobs import Job
from ui.parts.model_bar import ModelBar
from ui.parts.settings import PicturesOnly, RunSettings
from ui.parts.thumbnails import thumbnails
from ui.relevance import tab as relevance_tab
from vitq_core.experiment.folders import Pools
from vitq_core.experiment.measure import Batches, usable
from vitq_core.experiment.samples import Sample
from vitq_core.pictures.archive import OFTEN

PICTURE = Image.new("RGB", (20, 20), "red")


class Pictures:
    """Samples that count how often they are read, and stop `job` at the `last` time."""

    def __init__(self, count: int, last: int):
        self.job, self.reads, self.last = Job(), 0, last
        self.samples = [Sample(f"{i}", None, self.read) for i in range(count)]

    def read(self) -> Image.Image:
        self.reads += 1
        if self.reads == self.last:
            self.job.abandon()
        return PICTURE


def test_the_next_picture_is_not_read_after_cancel():
    pictures = Pictures(9, last=3)
    with pytest.raises(vq.Cancelled):
        usable(pictures.samples, pictures.job)
    assert pictures.reads == 3


def test_the_next_picture_of_a_batch_is_not_read_after_cancel():
    pictures = Pictures(9, last=3)
    with pytest.raises(vq.Cancelled):
        list(Batches(pictures.samples, lambda picture: torch.zeros(3, 2, 2), 8, pictures.job))
    assert pictures.reads == 3


@pytest.fixture
def stopped_at(bench, monkeypatch):
    """Pictures, the same to calibrate and held out, that every source of `bench` has."""

    def make(last: int) -> Pictures:
        pictures = Pictures(4, last)
        pools = Pools(("counted",), "", tuple(pictures.samples), tuple(pictures.samples))
        monkeypatch.setattr(bench, "source", lambda settings, *heard, **named: pools)
        return pictures

    return make


# 4 held-out pictures are read twice, then 4 to calibrate twice, then the held-out ones once more.
@pytest.mark.parametrize("last", [1, 3, 5, 7, 9, 11, 13, 15, 17, 19])
def test_a_cancelled_run_reads_no_further_picture(bench, stopped_at, last):
    pictures = stopped_at(last)
    with pytest.raises(vq.Cancelled):
        bench.quantize(RunSettings("tiny", "minmax", calibration=4, held_out=4), job=pictures.job)
    assert pictures.reads == last


@pytest.mark.parametrize("last", [1, 3, 5, 7])
def test_a_cancelled_scoring_reads_no_further_picture(bench, stopped_at, last):
    pictures = stopped_at(last)
    with pytest.raises(vq.Cancelled):
        bench.relevance.score(Scoring("tiny", count=4), cancel=pictures.job)
    assert pictures.reads == last


@pytest.mark.parametrize("last", [1, 3, 5, 7])
def test_a_cancelled_budget_reads_no_further_picture(bench, stopped_at, last):
    scores = bench.relevance.score(Scoring("tiny", count=2))
    pictures = stopped_at(last)
    options = {"policy": "budget", "avg_weight_bits": 3.5}
    with pytest.raises(vq.Cancelled):
        bench.relevance.allocate(Scoring("tiny", count=4), scores, options, cancel=pictures.job)
    assert pictures.reads == last


@pytest.mark.parametrize("last", [1, 3, 5, 7])
def test_a_gallery_reads_no_further_picture_once_the_visitor_left(bench, stopped_at, last):
    """4 pictures are read to sort out those that cannot be, and once more for the thumbnails."""
    with gr.Blocks():
        explain = relevance_tab.Page(bench, ModelBar()).explain
    pictures, me = stopped_at(last), SimpleNamespace(session_hash="me")
    pictures.job = SimpleNamespace(abandon=lambda: explain.leave(me))
    shown = explain.fill_gallery(PicturesOnly("tiny", "minmax"), "patches", me)
    assert pictures.reads == last
    assert "Stopped." in shown[explain.verdict] and explain.gallery not in shown
    pictures.last = 0
    assert explain.gallery in explain.fill_gallery(PicturesOnly("tiny", "minmax"), "patches", me)


def test_what_stops_reading_is_on_the_page_while_pictures_are_read(bench, stopped_at):
    with gr.Blocks():
        page = relevance_tab.Page(bench, ModelBar())
    explain, me = page.explain, SimpleNamespace(session_hash="me")
    assert not explain.stop.visible
    pictures = stopped_at(0)
    data = {part: part.value for part in explain.inputs | explain.asked | page.bits.inputs}
    data |= {page.bits.table: None, page.opened: None, page.score.scores: None}
    for event in (explain.fill_clicked(data, me), page.open(data, me)):
        assert next(event) == {explain.stop: gr.update(visible=True)}
        before = pictures.reads
        last = next(event)
        assert last[explain.stop] == gr.update(visible=False) and explain.gallery in last
        assert pictures.reads > before
    data[page.opened] = data[page.score.fields["model"]]
    assert list(page.open(data, me)) == list(page.follow(data, me)) == [gr.skip()]


def test_a_results_gallery_reads_no_further_picture_after_cancel(bench, stopped_at):
    pictures = stopped_at(0)
    outcome = bench.quantize(RunSettings("tiny", "minmax", calibration=4, held_out=4))
    pictures.last = pictures.reads + 2
    with pytest.raises(vq.Cancelled):
        thumbnails(outcome, pictures.job)
    assert pictures.reads == pictures.last


def test_the_pictures_of_a_gallery_are_sorted_out_once(bench, stopped_at):
    pictures = stopped_at(0)
    for _ in range(2):
        assert len(bench.relevance.samples(RunSettings("tiny", "minmax"))) == 4
    assert pictures.reads == 4


@pytest.fixture
def large(tmp_path) -> Path:
    """A folder that takes many questions to list."""
    (tmp_path / "large").mkdir()
    for number in range(5 * OFTEN):
        (tmp_path / "large" / f"{number}.txt").touch()
    return tmp_path / "large"


RUN = RunSettings("tiny", "minmax", calibration=4, held_out=4, pictures="folder")
LISTINGS = {
    "run": lambda bench, place, heard, job: bench.quantize(replace(RUN, **place), heard, job),
    "scoring": lambda bench, place, heard, job: bench.relevance.score(Scoring("tiny", **place), heard, job),
    "budget": lambda bench, place, heard, job: bench.relevance.allocate(
        Scoring("tiny", **place), {}, {"policy": "budget"}, heard, job
    ),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_a_folder_is_not_listed_further_after_cancel(bench, large, name):
    job, said = Job(), []

    def hear(share: float, message: str) -> None:
        said.append(message)
        if message == f"Looking for pictures ({2 * OFTEN:,} files so far)":
            job.abandon()

    place = {"pictures": "folder", "folder": str(large)}
    with pytest.raises(vq.Cancelled):
        LISTINGS[name](bench, place, hear, job)
    assert said[-1] == "Looking for pictures (1,000 files so far)"
    assert not bench.busy()
    (large / "late.txt").touch()
    with pytest.raises(ValueError, match="has 2501 files, none of them a picture"):
        LISTINGS[name](bench, place, None, Job())


def test_a_gallerys_folder_is_not_listed_further_once_the_visitor_left(bench, large):
    asked = []

    def leaves() -> bool:
        asked.append(True)
        return len(asked) == 3

    with pytest.raises(vq.Cancelled):
        bench.relevance.samples(replace(RUN, folder=str(large)), leaves)
    assert len(asked) == 3
