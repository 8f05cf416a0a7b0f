"""A long run as a page has it."""

from types import SimpleNamespace

import gradio as gr
import pytest

import vitq_core as vq
from ui.parts.settings import RunSettings
from ui.parts.visitors import Visitors
from ui.running.runs import Run, sentence
from vitq_core.common.home import vitq_home

ME = SimpleNamespace(session_hash="me")
STOPPED = "stopped"


def run_of(work) -> Run:
    return Run(gr.Button(), gr.Button(), gr.HTML(), STOPPED, work=work)


def test_a_run_shows_what_its_work_returns_and_frees_the_buttons():
    run = run_of(lambda data, progress, stopped: {"shown": data})
    run.jobs.start("me")
    shown = run.run({"a": 1}, ME)
    assert shown["shown"] == {"a": 1}
    assert (shown[run.start]["interactive"], shown[run.stop]["interactive"]) == (True, False)
    assert not run.running(ME)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("4 is too <few>."), "4 is too &lt;few&gt;."),
        (vq.VitqError("no such model"), "no such model"),
        (ZeroDivisionError("secret"), "unexpected ZeroDivisionError"),
        (vq.Cancelled("x"), STOPPED),
    ],
)
def test_a_run_that_fails_says_so_in_a_sentence(error, said):
    def work(data, progress, stopped):
        raise error

    run = run_of(work)
    run.jobs.start("me")
    shown = run.run({}, ME)
    assert said in shown[run.status]
    assert "secret" not in shown[run.status]
    assert not run.running(ME)


def test_cancel_tells_the_work_of_one_visitor():
    seen = {}
    run = run_of(lambda data, progress, stopped: seen.update(stopped=stopped()) or {})
    run.jobs.start("me")
    run.jobs.start("you")
    run.cancel(ME)
    run.run({}, ME)
    assert seen["stopped"]
    run.run({}, SimpleNamespace(session_hash="you"))
    assert not seen["stopped"]


def test_cancel_lets_a_run_end_with_what_it_learned():
    seen = {}
    run = run_of(lambda data, progress, job: seen.update(stop=job(), drop=job.abandoned()) or {})
    job = run.jobs.start("me")
    job.log(SimpleNamespace(index=0, total=2, row="row"))
    with pytest.raises(gr.Error):
        run.cancel(ME)
    run.run({}, ME)
    assert seen == {"stop": True, "drop": False}
    job = run.jobs.start("me")
    job.log(SimpleNamespace(index=0, total=2, row="row"))
    with pytest.raises(gr.Error):
        run.cancel(ME)
    assert run.cancel(ME)[run.status] == STOPPED
    assert job.abandoned()


@pytest.mark.parametrize("home", ["file/below", "file"])
def test_no_visitor_reads_where_the_server_keeps_its_files(tmp_path, monkeypatch, home):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("VITQ_HOME", str(tmp_path / home))
    with pytest.raises(vq.StorageError, match=f"{tmp_path}/{home}") as caught:
        vitq_home()
    said = sentence(caught.value)
    assert said.startswith("the folder for downloads and runs cannot be created (")
    assert "/" not in said and "file" not in said.replace("File exists", "")


def test_the_engines_own_words_are_passed_on():
    assert sentence(vq.VitqError("so it is")) == "so it is"


@pytest.mark.parametrize("error", [ValueError("4 is too few."), vq.Cancelled("x")])
def test_an_earlier_result_is_named_and_dimmed_where_a_run_does_not_end_well(error):
    def work(data, progress, stopped):
        raise error

    kept, settings = gr.State(None), RunSettings("demo-vit", "minmax")
    run = Run(gr.Button(), gr.Button(), gr.HTML(), STOPPED, work=work, kept=kept)
    run.jobs.start("me")
    said = run.run({kept: settings}, ME)[run.status]
    assert f"Below: the earlier result, {settings.title}." in said
    assert "vq-earlier" in said
    run.jobs.start("me")
    assert "earlier" not in run.run({kept: None}, ME)[run.status]
    run.jobs.start("me")
    assert settings.title in run.cancel(ME, settings)[run.status]


def test_what_a_run_said_at_its_end_is_not_talked_over_by_a_late_answer_about_the_same_form():
    broken = [True]

    def work(data, progress, stopped):
        if broken:
            raise ValueError("no such folder.")
        return {}

    run = run_of(work)
    run.jobs.start("me")
    assert run.has_last_word({"folder": "a"}, ME)
    for _ in range(2):  # failed, and ended well
        run.run({"folder": "a", "shown": 1}, ME)
        assert not run.has_last_word({"folder": "a"}, SimpleNamespace(session_hash="you"))
        assert run.has_last_word({"folder": "a"}, ME)
        broken.clear()
    assert not run.has_last_word({"folder": "b"}, ME)
    assert not run.has_last_word({"folder": "a"}, ME), "something else was said about b"
    run.run({"folder": "a"}, ME)
    run.leave(ME)
    assert not run.has_last_word({"folder": "a"}, ME)


def begun(**settings):
    """A run on a page, and the handler of its button."""
    with gr.Blocks() as page:
        run = Run(gr.Button(), gr.Button(), gr.HTML(), STOPPED, work=None, **settings)
        run.connect(set(), set(), lambda data: [], lambda data: "ViT")
    return run, next(event.fn for event in page.fns.values() if event.fn.__name__ == "begin")


def test_a_run_cancelled_before_its_turn_is_not_talked_over_either():
    run, begin = begun()
    begin({"pictures": 1024}, ME)
    assert run.cancel(ME)[run.status] == STOPPED
    assert run.has_last_word({"pictures": 1024}, ME)
    assert not run.has_last_word({"pictures": 32}, ME)


def test_a_run_says_whether_another_one_goes_first():
    busy = [True]
    _, begin = begun(server=SimpleNamespace(busy=lambda: bool(busy), visitors=Visitors()))
    said = begin({}, ME)[0]
    assert "Waiting: another run is before yours." in said and "ViT" in said
    busy.clear()
    assert "Waiting" not in begin({}, ME)[0]
