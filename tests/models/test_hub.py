"""Downloads from the hub: megabytes told of, cancelled, broken off, gone on with, checked, offline after."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import vitq_core as vq

from .hub_models import SIZES, tiny_files
from .hub_server import FIRST, SECOND, HubServer, Repo

WIDE = {**SIZES, "embed_dim": 192, "depth": 3, "mlp_ratio": 2}  # about 4 MB


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VITQ_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "home"


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return tiny_files(args=WIDE)


@pytest.fixture
def hub(files: dict[str, bytes], home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    hub = HubServer({"user/wide": Repo({FIRST: files}, {"v1": FIRST})})
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    yield hub
    hub.close()


def load(**given) -> vq.Model:
    return vq.load_model("hf-hub:user/wide", **given)


def begun(home: Path) -> int:
    """Bytes that are here of a download that has not ended."""
    return sum(path.stat().st_size for path in home.rglob("*.part"))


def same(model: vq.Model, files: dict[str, bytes]) -> bool:
    from safetensors.torch import load as tensors

    return torch.equal(model.module.head.weight, tensors(files["model.safetensors"])["head.weight"])


def test_megabytes_are_told_of_as_they_come(hub: HubServer, files: dict[str, bytes]) -> None:
    told: list[tuple[float, str]] = []
    model = load(progress=lambda *said: told.append(said))
    total = len(files["model.safetensors"]) / 1e6
    lines = [said for _, said in told if said.startswith("Downloading model.safetensors: ")]
    assert lines[0].endswith(f"0 of {total:.0f} MB") and lines[-1].endswith(f"{total:.0f} of {total:.0f} MB")
    assert len(lines) >= total - 1
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert same(model, files)


def test_nothing_but_two_files_is_fetched(hub: HubServer, home: Path) -> None:
    hub.repos["user/wide"].commits[FIRST] |= {
        "modeling.py": b"raise",
        "pytorch_model.bin": b"x",
        "README.md": b"x",
    }
    load()
    assert {each.rpartition("/")[2] for each in hub.asked("resolve")} == {"config.json", "model.safetensors"}
    assert {path.name for path in home.rglob("*") if path.is_file()} == {
        "config.json", "model.safetensors", "model.safetensors.lock", "main"
    }  # fmt: skip


def test_it_works_offline_once_it_is_here_under_each_of_its_names(
    hub: HubServer, files: dict[str, bytes]
) -> None:
    load()
    hub.requests.clear()
    assert same(load(), files) and hub.requests == []
    hub.close()
    assert same(load(), files)
    assert same(vq.load_model(f"hf-hub:user/wide@{FIRST}"), files)
    with pytest.raises(
        vq.VitqError, match=r"user/wide is not downloaded yet and the Hugging Face hub cannot be"
    ):
        vq.load_model("hf-hub:user/wide@v1")


def test_weights_that_two_commits_share_are_downloaded_once(hub: HubServer, files: dict[str, bytes]) -> None:
    load()
    hub.repos["user/wide"].commits[SECOND] = {**files, "README.md": b"better"}
    hub.requests.clear()
    model = vq.load_model(f"hf-hub:user/wide@{SECOND}")
    assert model.info.source == f"user/wide@{SECOND}" and not hub.asked("large")


def test_what_breaks_off_is_said_and_gone_on_with(
    hub: HubServer, home: Path, files: dict[str, bytes]
) -> None:
    hub.stop_after = 2_000_000
    with pytest.raises(
        vq.VitqError, match=r"download of model.safetensors broke off after 2 of \d MB; try again"
    ):
        load()
    assert begun(home) == 2_000_000
    hub.stop_after = None
    assert same(load(), files)
    assert hub.asked("range") == ["range bytes=2000000-"] and begun(home) == 0


def test_it_is_cancelled_on_a_slow_line_and_gone_on_with(
    hub: HubServer, home: Path, files: dict[str, bytes]
) -> None:
    hub.pause, hub.piece = 0.02, 100_000
    with pytest.raises(vq.Cancelled, match=r"the next download of model\.safetensors goes on from here"):
        load(cancel=lambda: begun(home) >= 1_000_000)
    kept = begun(home)
    assert 1_000_000 <= kept < len(files["model.safetensors"])
    hub.pause = 0
    assert same(load(), files)
    assert hub.asked("range") == [f"range bytes={kept}-"]


def test_a_cancelled_wish_asks_for_no_weights(hub: HubServer) -> None:
    with pytest.raises(vq.Cancelled):
        load(cancel=lambda: True)
    assert not hub.asked("large")


def test_other_bytes_than_are_published_are_not_kept(
    hub: HubServer, home: Path, files: dict[str, bytes]
) -> None:
    hub.altered = True
    with pytest.raises(
        vq.VitqError, match=r"is not the published model.safetensors \(its SHA-256 is .*try again"
    ):
        load()
    assert begun(home) == 0 and not list(home.rglob("model.safetensors"))
    hub.altered = False
    assert same(load(), files)


@pytest.mark.parametrize("status", [500, 503])
def test_a_hub_in_trouble_is_a_sentence(hub: HubServer, status: int) -> None:
    hub.status = status
    with pytest.raises(
        vq.VitqError, match=f"could not serve config.json of user/wide .error {status}.; try again"
    ):
        load()


def test_two_who_want_the_same_file_download_it_once(hub: HubServer, files: dict[str, bytes]) -> None:
    hub.pause, hub.piece = 0.01, 200_000
    made, told = [], []
    threads = [
        threading.Thread(target=lambda: made.append(load(progress=lambda *said: told.append(said[1]))))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 2 and all(same(model, files) for model in made)
    assert len(hub.asked("large")) == 1
    assert "Waiting: somebody else is downloading model.safetensors of user/wide" in told


def test_a_small_file_is_known_by_gits_sum(hub: HubServer, home: Path) -> None:
    """As the hub keeps what its owner did not say is large; here of the configuration, altered on the way."""
    from vitq_core.models import hub as module
    from vitq_core.models.hub_name import HubName

    file = module.remote_file(HubName("user/wide"), "config.json")
    assert len(file.sum) == 40 and file.name.revision == FIRST
    hub.repos["user/wide"].commits[FIRST] = {"config.json": b"{}"}
    with pytest.raises(
        vq.VitqError, match=r"config\.json of user/wide did not arrive as it is published; try again"
    ):
        module.read_small(file)


def test_no_token_is_sent(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server's owner may read is not for its visitors."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    vq.model_card("user/wide")
    load()
    assert hub.tokens == set()
