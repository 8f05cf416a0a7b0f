"""A model of the hub on the page and for programs, against a real server on 127.0.0.1."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

import vitq_core as vq
from tests.models.hub_models import tiny_files
from tests.models.hub_server import FIRST, SECOND, HubServer, Repo
from ui import api
from ui.another.brought import Brought
from ui.another.of_hub import OfHub
from ui.learning.effort import efforts_list
from ui.parts import hub_models, settings
from ui.parts.cache import Cache
from ui.parts.jobs import Job
from ui.parts.model_bar import OWN_PHOTOGRAPHS, ModelBar, choosing, model_sentence, pictures_sentence
from ui.parts.model_list import choices, offered, task_of, wrong_model
from ui.workbench import Workbench

from ..parts.test_settings import GOOD

ID = f"hf-hub:user/tiny@{SECOND}"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    hub = HubServer(
        {
            "user/tiny": Repo({FIRST: tiny_files(), SECOND: tiny_files(seed=1)}, {"v1": FIRST}),
            "user/beit": Repo({FIRST: tiny_files("beit_base_patch16_224")}),
            "user/sam": Repo(
                {FIRST: {"config.json": b'{"architecture": "segment_anything"}', "model.pth": b"x"}}
            ),
        }
    )
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setenv("VITQ_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(hub_models, "_cards", Cache(9))
    yield hub
    hub.close()


@pytest.fixture
def box(hub: HubServer) -> SimpleNamespace:
    """The box under the bar: `look(text)`, `fetch(found)` as a press of the button comes to."""
    bench = Workbench()
    with gr.Blocks() as studio:
        made = OfHub(bench, Brought(ModelBar("Views")))
        made.connect(studio)

    def look(text: object) -> dict:
        return made.look_up({made.name: text})

    def fetch(found: object, own: object = None, job: Job | None = None, told: list | None = None) -> dict:
        tell = (lambda *said: told.append(said)) if told is not None else lambda *said: None
        return made.fetch({made.found: found, made.brought.own: own}, tell, job or Job())

    return SimpleNamespace(page=made, bench=bench, look=look, fetch=fetch)


@pytest.mark.parametrize(
    "typed", ["user/tiny", " hf-hub:user/tiny ", "https://huggingface.co/user/tiny/tree/main"]
)
def test_a_card_comes_before_the_download(box, hub: HubServer, typed: str) -> None:
    seen, page = box.look(typed), box.page
    card = seen[page.card]
    for said in ("user/tiny", "vit_tiny_patch16_224", "3 classes", "16×16", "apache-2.0", SECOND):
        assert said in card
    assert seen[page.found] == ID and seen[page.offer]["visible"]
    assert seen[page.start]["value"].startswith("Download 0.") and seen[page.start]["value"].endswith(" MB")
    assert not hub.asked("large")


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("", "Type a name such as"),
        (None, "Type a name such as"),
        ("deit", "is no model of the Hugging Face hub; type user/name"),
        ("deit-tiny", "deit-tiny is in the list above; choose it there"),
        ("user/none", "there is no user/none on the Hugging Face hub, or it is private"),
        ("user/tiny@v9", "user/tiny on the Hugging Face hub has no revision v9"),
        ("user/beit", "no model family knows Beit"),
        ("user/sam", "It is a Segment Anything"),
        ("https://huggingface.co/datasets/a/b", "is no model&#x27;s page"),
        ("/etc/passwd", "is no model of the Hugging Face hub"),
        ("<b>/x", "is not the name of a repository"),
    ],
)
def test_what_cannot_be_used_is_said_beside_the_box(box, typed: object, sentence: str) -> None:
    seen, page = box.look(typed), box.page
    assert sentence in seen[page.card] and "<b>/" not in seen[page.card]
    assert seen[page.found] is None and not seen[page.offer]["visible"]


def test_a_download_is_told_of_and_then_the_page_is_about_it(box, hub: HubServer) -> None:
    told, page = [], box.page
    box.look("user/tiny")
    seen = box.fetch(ID, told=told)
    assert any("Downloading model.safetensors: 0 of 0 MB" in said for _, said in told)
    assert (
        seen[page.brought.bar.fields["model"]]["value"] == ID
        and ("user/tiny@b2b2b2b", ID) in seen[page.brought.bar.fields["model"]]["choices"]
    )
    assert seen[page.brought.bar.last] == ID and "user/tiny@b2b2b2b is chosen" in seen[page.status]
    assert box.bench.has_model(ID)
    assert box.look("user/tiny")[page.start]["value"] == "Use this model"
    hub.close()
    assert box.look("user/tiny")[page.start]["value"] == "Use this model"
    assert "cannot be reached; pick a bundled model" in box.look("user/tiny@v1")[page.card]


def test_another_one_stays_beside_it(box) -> None:
    box.look("user/tiny@v1")
    first = f"hf-hub:user/tiny@{FIRST}"
    own = box.fetch(first)[box.page.brought.own]
    box.look("user/tiny")
    listed = [model_id for _, model_id in box.fetch(ID, own)[box.page.brought.bar.fields["model"]]["choices"]]
    assert listed[-2:] == [first, ID]


def test_it_is_cancelled_and_gone_on_with(box) -> None:
    box.look("user/tiny")
    job = Job()
    job.abandon()
    with pytest.raises(vq.Cancelled):
        box.fetch(ID, job=job)
    assert box.fetch(ID)[box.page.brought.bar.fields["model"]]["value"] == ID


@pytest.mark.parametrize(
    "found", [None, "hf-hub:user/tiny", "/etc/passwd", ["x"], f"hf-hub:user/never@{FIRST}"]
)
def test_nothing_is_downloaded_that_was_not_looked_up(box, hub: HubServer, found: object) -> None:
    with pytest.raises(ValueError, match="model: "):
        box.fetch(found)
    assert not hub.asked("large")


def test_it_is_known_by_its_name_and_listed_to_nobody(box) -> None:
    assert wrong_model(ID) == "user/tiny@b2b2b2b is not known here: look it up under “Another model” first."
    assert offered(ID) is None and task_of(ID) == model_sentence(ID) == ""
    box.look("user/tiny")
    assert wrong_model(ID) == "" and offered(ID).params > 5000 and task_of(ID) == "classification"
    listed = [model_id for _, model_id in choices()] + [info["id"] for info in api.list_models()]
    assert ID not in listed and "demo-vit" in listed
    assert settings.problems({**GOOD, "model": ID}) == {}
    assert "3 classes" in model_sentence(ID) and pictures_sentence(ID, "own") == OWN_PHOTOGRAPHS
    assert "about 10" in efforts_list(ID, "quick")
    assert choosing("demo-vit") == gr.update(value="demo-vit")
    assert wrong_model(ID, ("segmentation",)).startswith("Choose one of ")


def test_a_restarted_server_knows_what_is_here(box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.look("user/tiny")
    box.fetch(ID)
    monkeypatch.setattr(hub_models, "_cards", Cache(9))
    assert offered(ID).id == ID and offered("hf-hub:user/tiny") is None


def test_a_run_and_its_file_say_which_commit_it_was(box, tmp_path: Path) -> None:
    box.look("user/tiny")
    chosen = settings.RunSettings(ID, "minmax", calibration=2, held_out=2)
    outcome = box.bench.quantize(chosen)
    assert chosen.title == "user/tiny@b2b2b2b · Min–max · W4/A4 · 2 calibration pictures"
    assert chosen.slug == "user-tiny@b2b2b2b-minmax-w4a4-cal2"
    assert outcome.record.model == ID and outcome.record.made_of["source"] == f"user/tiny@{SECOND}"
    vq.save_quantized(outcome.result, tmp_path / "saved")
    said = json.loads((tmp_path / "saved" / "vitq.json").read_text())
    assert said["source"]["from"] == f"user/tiny@{SECOND}"
    assert vq.load_quantized(tmp_path / "saved").source.info.source == f"user/tiny@{SECOND}"


def test_a_program_names_it_with_the_same_checks(box, hub: HubServer) -> None:
    asked = {"recipe": "minmax", "calibration": 2, "held_out": 2}
    found = api._quantize(box.bench)(model="hf-hub:user/tiny@v1", **asked)
    assert found["report"]["pictures"] == 2 and offered(f"hf-hub:user/tiny@{FIRST}") is not None
    importance = api._importance(box.bench)(model="user/tiny@v1", pictures=2)
    assert importance
    before = len(hub.asked("large"))
    for model, sentence in (
        ("hf-hub:user/beit", "user/beit cannot be quantized: no model family knows Beit"),
        ("user/none", "there is no user/none"),
        ("user/sam", "Choose one of demo-vit"),
        ("nonsense", "Choose one of demo-vit"),
    ):
        for ask in (api._quantize(box.bench), api._allocate(box.bench), api._layer_errors(box.bench)):
            with pytest.raises(gr.Error, match=sentence):
                ask(model=model)
    assert len(hub.asked("large")) == before
