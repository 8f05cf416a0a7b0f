"""An export is published in its visitor's name, and their token is nowhere afterwards."""

from __future__ import annotations

import logging
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from huggingface_hub import ModelCard

import vitq_core as vq
from tests.models.hub_server import HubServer
from ui.export.making import Exports
from ui.parts.settings import RunSettings
from ui.publishing import Publishing
from ui.running.sources import Published

TOKEN, SERVERS = "hf_visitorsSecret", "hf_serversSecret"
VISITOR = SimpleNamespace(session_hash="ada")
SETTINGS = RunSettings("tiny", "minmax", 4, 4, calibration=4, held_out=6)


@dataclass(frozen=True)
class Exported:
    settings: RunSettings
    path: Path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    hub = HubServer()
    hub.users = {TOKEN: ("ada", "write"), SERVERS: ("owner", "write")}
    for name, value in {"HF_ENDPOINT": hub.address, "no_proxy": "*", "HF_TOKEN": SERVERS}.items():
        monkeypatch.setenv(name, value)
    yield hub
    hub.close()


@pytest.fixture
def bench(tiny_model: vq.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Of exports what the section asks for."""
    import torch

    monkeypatch.setenv("VITQ_HOME", str(tmp_path / "home"))
    pictures = torch.randn(6, 3, 16, 16)
    result = vq.quantize(tiny_model, pictures, vq.recipe("minmax", 4, 4))
    full = vq.evaluate(tiny_model, pictures)
    found = vq.evaluate(result.model, pictures, reference=tiny_model)
    card = Published(result, found, full, "those that come with the studio", "drawn scenes")
    return SimpleNamespace(published=lambda settings: card if settings == SETTINGS else None, result=result)


@pytest.fixture
def shown(bench: SimpleNamespace, tmp_path: Path) -> Exported:
    vq.export(bench.result, tmp_path / "made" / "tiny", "packed")
    with zipfile.ZipFile(tmp_path / "tiny.zip", "w") as archive:
        for path in (tmp_path / "made" / "tiny").iterdir():
            archive.write(path, f"tiny/{path.name}")
    return Exported(SETTINGS, tmp_path / "tiny.zip")


@pytest.fixture
def section(bench: SimpleNamespace) -> Publishing:
    with gr.Blocks():
        return Publishing(bench, gr.State(None))


def asked(section: Publishing, there: object, **changes: object) -> dict:
    given = {
        "name": "small", "licence": "mit", "private": True, "shown": there, "token": TOKEN, **changes
    }  # fmt: skip
    return {getattr(section, name): value for name, value in given.items()}


def press(section: Publishing, data: dict) -> dict:
    begun = section.with_token(data, VISITOR)
    assert begun[section.token] == "" and not begun[section.start]["interactive"]
    *_, ended = section.follow(VISITOR)
    assert ended[section.start]["interactive"] and not section._under_way
    return ended


def test_it_is_published_and_the_box_is_empty(hub, section, shown, caplog, capfd, tmp_path) -> None:
    caplog.set_level(logging.DEBUG)
    found = press(section, asked(section, shown))
    assert f'href="{hub.address}/ada/small"' in found[section.status]
    repo = hub.repos["ada/small"]
    assert repo.private
    files = list(repo.commits.values())[-1]
    card = ModelCard(files["README.md"].decode())
    assert card.data.license == "mit" and "6 pictures" in card.text and "ada/small" in card.text
    assert hub.tokens == {f"Bearer {TOKEN}"}
    said = [caplog.text, *capfd.readouterr(), repr(found), repr(vars(section))]
    said += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(TOKEN in text for text in said)
    assert not list((tmp_path / "home").glob("publish-*"))


@pytest.mark.parametrize("token", ["", "  ", None, 3, ["x"]])
def test_without_a_token_the_servers_own_is_never_taken(hub, section, shown, token) -> None:
    found = press(section, asked(section, shown, token=token))
    assert "Pushing takes an access token" in found[section.status]
    assert not hub.repos and not hub.tokens


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": " "}, "Name: Type a name"),
        ({"name": 3}, "Name: Type a name"),
        ({"name": "a b"}, "is not the name of a repository"),
        ({"private": "yes"}, "Private: Send true or false."),
        ({"licence": ""}, "Licence: Choose one"),  # of a model given in memory nothing is known
        ({"licence": ["mit"]}, "Licence: Choose one"),
        ({"token": "hf_other"}, "does not know this access token"),
        ({"shown": None}, "no longer in memory"),
        ({"shown": Exported(SETTINGS, Path("gone.zip"))}, "no longer in memory"),
    ],
)
def test_what_cannot_be_is_a_sentence(hub, section, shown, changes: dict, said: str) -> None:
    found = press(section, asked(section, shown, **changes))
    assert said in found[section.status].replace("&#x27;", "'") and "Not published." in found[section.status]
    assert not hub.repos


@pytest.mark.parametrize("how", ["cancel", "leave"])
def test_cancelled_or_left_nothing_is_published(hub, section, shown, monkeypatch, how: str) -> None:
    told, asking = threading.Event(), vq.push_to_hub

    def pushed(*given: object) -> str:
        *others, progress, job = given

        def hear(share: float, said: str) -> None:
            progress(share, said)
            if said.startswith("Uploading"):
                told.set()
                while not job():
                    time.sleep(0.01)

        return asking(*others, hear, job)

    monkeypatch.setattr(vq, "push_to_hub", pushed)
    section.with_token(asked(section, shown), VISITOR)
    (under_way,) = section._under_way.values()
    assert told.wait(30) and "Uploading" in under_way.banner
    getattr(section, how)(VISITOR)
    assert under_way.over(30) and "Cancelled." in under_way.ended
    assert len(hub.repos["ada/small"].commits) == 1
    ended = [update[section.status] for update in section.follow(VISITOR)]
    assert ended == ([under_way.ended] if how == "cancel" else [])


def test_what_carries_the_token_is_not_queued(bench) -> None:
    """Gradio's queue keeps the values of its last event."""
    with gr.Blocks() as studio:
        section = Publishing(bench, gr.State(None))
    carrying = [event for event in studio.fns.values() if section.token in event.inputs]
    assert len(carrying) == 1 and not carrying[0].queue and carrying[0].api_visibility == "private"


@pytest.fixture
def on_a_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Gradio has what signing in takes, which is not installed here."""
    monkeypatch.setattr("ui.publishing.section.offers_sign_in", lambda: True)
    monkeypatch.setattr("gradio.LoginButton", lambda **given: gr.Button("Sign in", **given))


def test_on_a_space_whoever_is_signed_in_publishes(hub, bench, shown, on_a_space) -> None:
    with gr.Blocks():
        section = Publishing(bench, gr.State(None))
    assert section.token is None
    data = {section.name: "small", section.licence: "mit", section.private: False, section.shown: shown}
    nobody = section.signed_in(data, VISITOR, None)
    assert "Sign in with Hugging Face first." in nobody[section.status] and not hub.tokens
    oauth = gr.OAuthToken(token=TOKEN, scope="manage-repos", expires_at=2**40)
    section.signed_in(data, VISITOR, oauth)
    *_, found = section.follow(VISITOR)
    assert "Published." in found[section.status] and not hub.repos["ada/small"].private


def test_gradio_gives_the_handler_its_token(bench, on_a_space) -> None:
    from gradio.helpers import special_args

    with gr.Blocks():
        section = Publishing(bench, gr.State(None))
    token = gr.OAuthToken(token=TOKEN, scope="", expires_at=2**40)
    given, *_ = special_args(section.signed_in, [{}], gr.Request(session_hash="ada"), None, None, token)
    assert given[2] is token


def test_exports_have_what_it_asks_for() -> None:
    assert callable(Exports.published)
