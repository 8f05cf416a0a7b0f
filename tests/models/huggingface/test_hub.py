"""Models of the transformers library on the hub: against a real server on 127.0.0.1."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import vitq_core as vq

from ..hub_server import FIRST, HubServer, Repo

pytest.importorskip("transformers", reason="needs the transformers library, of requirements-dev.txt")

from .test_load import NAMES, made, saved

PREPROCESSOR = "preprocessor_config.json"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = saved(made("vit"), tmp_path_factory.mktemp("vit"), 16)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def hub(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    bare = {name: data for name, data in files.items() if name != PREPROCESSOR}
    deep = {**files, "config.json": changed(files, num_hidden_layers=5000)}
    other = {**files, "config.json": changed(files, architectures=["BeitModel"], model_type="beit")}
    hub = HubServer(
        {
            f"user/{name}": Repo({FIRST: kept})
            for name, kept in {"vit": files, "bare": bare, "deep": deep, "beit": other}.items()
        }
    )
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setenv("VITQ_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    yield hub
    hub.close()


def changed(files: dict[str, bytes], **values: object) -> bytes:
    return json.dumps({**json.loads(files["config.json"]), **values}).encode()


def test_its_card_and_its_answers(hub: HubServer) -> None:
    card = vq.model_card("user/vit")
    assert (card.architecture, card.classes, card.size) == ("ViTForImageClassification", 3, (16, 16))
    assert not hub.asked("large") and not hub.asked(PREPROCESSOR)
    model = vq.load_model(card.id)
    assert (model.labels, model.info.params) == (list(NAMES.values()), card.params)
    assert model.preprocessing.std == (0.25, 0.25, 0.25)
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(model.module(images), made("vit")(images).logits, atol=1e-5)
    assert vq.model_card("user/vit").downloaded


def test_once_here_it_needs_no_network(hub: HubServer) -> None:
    first = vq.load_model("hf-hub:user/vit").module.head.weight
    hub.close()
    assert torch.equal(vq.load_model("hf-hub:user/vit").module.head.weight, first)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("bare", "has no preprocessor_config.json, which says how its pictures are prepared"),
        ("deep", "more than 1,000 blocks"),
        ("beit", "describes BeitModel .* these can be loaded: ViTForImageClassification"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(hub: HubServer, name: str, sentence: str) -> None:
    with pytest.raises(vq.VitqError, match=sentence):
        vq.load_model(f"hf-hub:user/{name}")
    if name != "bare":
        assert not hub.asked("large")  # refused before its weights are fetched
