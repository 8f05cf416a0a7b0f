"""What a model of the hub is, before it is downloaded: against a real server on 127.0.0.1."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import vitq_core as vq
from vitq_core.models.hub_card import UNKNOWN_LICENCE

from .hub_models import SWIN, tiny_files
from .hub_server import FIRST, SECOND, HubServer, Repo


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    hub = HubServer(
        {
            "user/tiny": Repo({FIRST: tiny_files(), SECOND: tiny_files(seed=1)}, {"v1": FIRST}),
            "user/swin": Repo({FIRST: tiny_files("swin_tiny_patch4_window7_224", SWIN)}, licence=""),
            "user/beit": Repo({FIRST: tiny_files("beit_base_patch16_224")}),
            "user/gated": Repo({FIRST: tiny_files()}, gated=True),
            "user/private": Repo({FIRST: tiny_files()}, private=True),
            "user/pickled": Repo(
                {FIRST: {**tiny_files(), "pytorch_model.bin": b"x", "model.pth": b"x" * 10**5}}
            ),
        }
    )
    del hub.repos["user/pickled"].commits[FIRST]["model.safetensors"]
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setenv("VITQ_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("VITQ_HUB_MB", raising=False)
    yield hub
    hub.close()


@pytest.mark.parametrize(
    "asked", ["hf-hub:user/tiny", "user/tiny", "https://huggingface.co/user/tiny", f"user/tiny@{SECOND}"]
)
def test_a_card_says_what_a_model_is(hub: HubServer, asked: str) -> None:
    card = vq.model_card(asked)
    files = hub.repos["user/tiny"].commits[SECOND]
    assert (card.id, card.repo, card.revision) == (f"hf-hub:user/tiny@{SECOND}", "user/tiny", SECOND)
    assert (card.architecture, card.task, card.classes) == ("vit_tiny_patch16_224", "classification", 3)
    assert (card.size, card.bytes) == ((16, 16), len(files["model.safetensors"]))
    assert (card.licence, card.downloaded) == ("apache-2.0", False)
    assert card.params == vq.load_model(card.id).info.params


def test_a_card_downloads_no_weights_and_stores_nothing(hub: HubServer, tmp_path: Path) -> None:
    vq.model_card("user/tiny")
    assert not hub.asked("safetensors") and not hub.asked("large")
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


def test_another_revision_is_another_model(hub: HubServer) -> None:
    card = vq.model_card("user/tiny@v1")
    assert card.revision == FIRST
    taken = vq.load_model(card.id)
    assert taken.info.source == f"user/tiny@{FIRST}" and taken.info.id == card.id
    newest = vq.load_model("hf-hub:user/tiny")
    assert newest.info.source == f"user/tiny@{SECOND}"
    assert not (newest.module.head.weight == taken.module.head.weight).all()


def test_a_swin_has_a_card_and_a_licence_may_be_missing(hub: HubServer) -> None:
    card = vq.model_card("user/swin")
    assert (card.architecture, card.licence) == ("swin_tiny_patch4_window7_224", UNKNOWN_LICENCE)
    assert card.info.summary == (
        "swin_tiny_patch4_window7_224: 3 classes on pictures of 16×16 pixels. From user/swin@a1a1a1a."
    )


REFUSED = {
    "no name": ("demo-vit", ValueError, "no model of the Hugging Face hub; type user/name, or paste"),
    "missing": ("user/none", vq.VitqError, "there is no user/none on the Hugging Face hub, or it is private"),
    "private": ("user/private", vq.VitqError, "there is no user/private on .*, or it is private"),
    "gated": ("user/gated", vq.VitqError, "user/gated asks for its terms to be accepted"),
    "another architecture": (
        "user/beit",
        vq.VitqError,
        "user/beit cannot be quantized: no model family knows",
    ),
    "no such revision": (
        "user/tiny@v9",
        vq.VitqError,
        "user/tiny on the Hugging Face hub has no revision v9",
    ),
    "no safetensors": ("user/pickled", vq.VitqError, "user/pickled has no model.safetensors"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_had_is_refused_before_its_weights(hub: HubServer, case: str) -> None:
    asked, kind, sentence = REFUSED[case]
    with pytest.raises(kind, match=sentence):
        vq.model_card(asked)
    if asked != "demo-vit":
        with pytest.raises(vq.VitqError, match=sentence):
            vq.load_model(f"hf-hub:{asked}")
    assert not hub.asked("large")


def test_what_is_too_large_is_refused_before_its_weights(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.stated["model.safetensors"] = 2_000_000_001
    said = re.escape(
        "user/tiny is too large: its weights have 2,000 MB, and 2,000 MB are allowed here (VITQ_HUB_MB)"
    )
    for ask in (vq.model_card, vq.load_model):
        with pytest.raises(vq.VitqError, match=said):
            ask("hf-hub:user/tiny")
    assert not hub.asked("large")
    monkeypatch.setenv("VITQ_HUB_MB", "3000")
    assert vq.model_card("user/tiny").bytes == 2_000_000_001
    monkeypatch.setenv("VITQ_HUB_MB", "lots")
    with pytest.raises(ValueError, match="VITQ_HUB_MB must be a whole number of megabytes, got 'lots'"):
        vq.model_card("user/tiny")


def test_offline_it_is_the_card_of_what_is_downloaded(hub: HubServer) -> None:
    with pytest.raises(vq.VitqError, match=r"user/tiny@a1a1a1a is not downloaded"):
        vq.model_card(f"user/tiny@{FIRST}", offline=True)
    vq.load_model("hf-hub:user/tiny@v1")
    before = vq.model_card("user/tiny@v1")
    assert before.downloaded
    requests = len(hub.requests)
    here = vq.model_card(f"user/tiny@{FIRST}", offline=True)
    assert len(hub.requests) == requests
    hub.close()
    away = vq.model_card("user/tiny@v1")
    assert away == here and (away.id, away.params, away.bytes) == (before.id, before.params, before.bytes)
    with pytest.raises(
        vq.VitqError, match=r"user/swin is not downloaded yet and the Hugging Face hub cannot be"
    ):
        vq.model_card("user/swin")
