"""A run that learns: what the page shows meanwhile and afterwards, stopped or not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.learning import module_errors as errors_text
from ui.learning.live import live
from ui.learning.plots import errors_figure
from ui.parts import tables
from ui.parts.curves import curve
from ui.parts.jobs import Job
from ui.parts.settings import RunSettings
from ui.running.run_parts import ended
from vitq_core.quantized.report import UnitRow


class Stopping(Job):
    """Is stopped when `modules` are done."""

    def __init__(self, modules: int):
        super().__init__()
        self.modules, self.log = modules, Telling(self)


class Telling(type(Job().log)):
    def __init__(self, job: Stopping):
        super().__init__()
        self.job = job

    def __call__(self, progress) -> None:
        super().__call__(progress)
        if progress.index == self.job.modules - 1 and progress.iteration == progress.iterations:
            self.job.finish()


@pytest.fixture
def settings(picture_folder, tmp_path) -> RunSettings:
    folder = picture_folder(tmp_path / "more", ["bee", "fox"], each=18)
    return RunSettings(
        "tiny", "minmax", 3, 3, calibration=16, held_out=6, pictures="folder", folder=str(folder),
        effort="quick", iterations=4,
    )  # fmt: skip


def row(unit: str, before: float, after: float, outcome: str = errors_text.RECONSTRUCTED) -> UnitRow:
    return UnitRow(unit, outcome, before, after, 4, 1.0, (3.0, 2.0, 1.5, 1.0))


ROWS = (row("a", 0.04, 0.02), row("<b>", 0.01, 0.01, "kept as it was: learned, the error would be 2 %"))


def test_everything_that_is_learned_is_told_and_shown(bench, settings):
    job, seen = Job(), []
    outcome = bench.quantize(settings, lambda done, message: seen.append(done), job)
    units = outcome.result.report.units
    assert outcome.total_modules == len(units) == job.log.total == len(job.log.rows)
    assert list(job.log.rows.values()) == list(units)
    assert seen == sorted(seen)
    assert outcome.settings == settings
    assert bench.quantize(settings) is outcome
    assert len(tables.module_rows(units)) == len(units)


def test_a_stopped_run_keeps_what_is_done_and_the_next_one_goes_on(bench, settings):
    stopped = bench.quantize(settings, job=Stopping(2))
    total = stopped.settings.modules
    assert stopped.settings.learned == len(stopped.result.report.units) == 2 < total
    assert stopped.evaluation.n == 6
    assert f"2 of {total} modules" in ended(stopped.settings)
    assert bench.outcome(stopped.settings) is stopped
    assert bench.outcome(settings) is None
    job = Job()
    complete = bench.quantize(settings, job=job)
    assert complete.settings == stopped.settings.complete == settings
    assert complete.result.report.units[:2] == stopped.result.report.units
    assert bench.download(stopped.settings).exists()


def test_too_few_pictures_are_refused_in_a_sentence(bench, settings, folder):
    few = RunSettings(**{**vars(settings), "folder": str(folder)})
    with pytest.raises(ValueError, match="batches of 8 pictures"):
        bench.quantize(few)


def test_the_panel_shows_the_current_module_and_those_before_it(bench, settings):
    job = Stopping(2)
    assert live(None) == live(job) == ""
    bench.quantize(settings, job=job)
    job._finish.clear()
    shown = live(job)
    assert "Module 2 of" in shown
    assert shown.count("vq-tile") == 2
    job.finish()
    assert "2 of" in live(job)


def test_names_are_escaped_and_what_was_kept_is_marked():
    job = Job()
    for index, one in enumerate((*ROWS, row("c", 0.1, 0.1, "learning"))):
        now = {"index": index, "total": 5, "iteration": 2, "iterations": 4, "row": one, "seconds_left": 9.0}
        job.log(type("Progress", (), now))
    shown = live(job)
    assert "<b>&lt;b&gt;</b>" in shown
    assert (shown.count("vq-tile"), shown.count("vq-kept")) == (2, 1)
    assert "about 9 s left" in shown
    assert "step 2 of 4" in shown


def test_curves_reach_as_far_as_the_steps_do():
    assert 'points="0.0,4.0 75.0,50.0 150.0,96.0"' in curve([3, 2, 1], done=0.5)
    assert 'points="0.0,50.0 300.0,50.0"' in curve([2])
    assert 'points=""' in curve([])


def test_the_plot_tells_learned_modules_from_kept_ones():
    figure = errors_figure(ROWS)
    ways, before, after, kept = figure.data
    assert list(ways.x) == [4, 2, None]
    assert (list(before.x), list(after.x)) == ([4], [2])
    assert list(kept.y) == ["<b>"]
    assert figure.layout.xaxis.type == "log"
    assert len(errors_figure(()).data) == 4


@given(st.floats(1e-6, 9.0), st.floats(1.0, 1e3))
def test_few_ticks_tell_the_scale_of_any_errors(least, ways):
    most = min(least * ways, 9.9)
    axis = errors_figure([UnitRow("a", "reconstructed", most, least, 3, 1.0, ())]).layout.xaxis
    seen = [tick for tick in axis.tickvals if 100 * least * 0.999 <= tick <= 100 * most * 1.001]
    assert 1 < len(seen) <= 5 or most < 1.01 * least
    assert len(axis.ticktext) == len(axis.tickvals) == len(set(axis.ticktext))


def test_the_summary_counts_every_module():
    said = errors_text.summary(ROWS, 5)
    assert said.startswith("1 of 5 modules improved, typically by 50 %.")
    assert "1 came out no better" in said
    assert "3 were not reached" in said
    assert errors_text.change(ROWS[0]) == "4 → 2 %"
    assert errors_text.change(ROWS[1]) == "1 %, kept"
