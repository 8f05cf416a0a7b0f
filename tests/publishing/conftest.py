"""A quantized model, exported, and a hub on this machine to push it to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

import vitq_core as vq
from tests.models.hub_models import NAMES, SIZES, VIT
from tests.models.hub_server import HubServer

TOKEN, READING, OTHERS = "hf_writesSecret1", "hf_readsSecret2", "hf_othersSecret3"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody is signed in here."""
    monkeypatch.setenv("VITQ_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("vitq_core.publishing.push.get_token", lambda: None)
    return tmp_path / "home"


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    hub = HubServer()
    hub.users = {TOKEN: ("ada", "write"), READING: ("ada", "read"), OTHERS: ("bob", "write")}
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    yield hub
    hub.close()


@pytest.fixture
def source() -> vq.Model:
    import timm

    torch.manual_seed(0)
    return vq.wrap_model(timm.create_model(VIT, num_classes=3, **SIZES), NAMES)


@pytest.fixture
def pictures() -> Tensor:
    return torch.randn(12, 3, 16, 16, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def result(source: vq.Model, pictures: Tensor) -> vq.QuantizeResult:
    return vq.quantize(source, pictures, vq.recipe("minmax", 4, 6), seed=5)


@pytest.fixture
def packed(result: vq.QuantizeResult, pictures: Tensor, tmp_path: Path) -> Path:
    """An export with its certificate."""
    vq.export(result, tmp_path / "packed", "packed", pictures)
    return tmp_path / "packed"
