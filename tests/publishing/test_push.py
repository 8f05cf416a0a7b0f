"""A push through the hub's real client: one commit, bit for bit, told of, stopped, gone on with, refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import snapshot_download

import vitq_core as vq
from tests.models.hub_server import FIRST, HubServer, Repo

from .conftest import OTHERS, READING, TOKEN


def files(hub: HubServer, name: str = "ada/tiny") -> dict[str, bytes]:
    """What the newest commit of a repository holds."""
    return list(hub.repos[name].commits.values())[-1]


def downloaded(hub: HubServer, folder: Path, name: str = "ada/tiny") -> Path:
    return Path(snapshot_download(name, endpoint=hub.address, token=TOKEN, local_dir=folder))


def test_what_is_pushed_loads_bit_for_bit(hub: HubServer, packed: Path, result, pictures, tmp_path) -> None:
    vq.write_model_card(packed, result, vq.evaluate(result.model, pictures))
    (packed / "private notes.txt").write_text("mine")
    (packed / ".env").write_text("mine")
    heard: list[tuple[float, str]] = []
    address = vq.push_to_hub(packed, "ada/tiny", TOKEN, progress=lambda *said: heard.append(said))
    assert address == f"{hub.address}/ada/tiny"
    repo = hub.repos["ada/tiny"]
    assert repo.private and len(repo.commits) == 2
    written = {"README.md", "certificate.json", "model.safetensors", "vitq.json"}
    assert files(hub).keys() == written | {".gitattributes"}
    loaded = vq.load_quantized(downloaded(hub, tmp_path / "got"))
    with torch.no_grad():
        assert torch.equal(loaded(pictures), result(pictures))
    assert loaded.report == result.report and loaded.recipe == result.recipe
    assert b'snapshot_download("ada/tiny")' in files(hub)["README.md"]
    assert "your-name/your-model" in (packed / "README.md").read_text()  # the folder is as it was
    shares = [share for share, _ in heard]
    assert shares == sorted(shares) and shares[-1] == 1
    assert any(said.startswith("Uploading model.safetensors: ") for _, said in heard)


def test_a_saved_folder_without_a_certificate_is_pushed_too(hub, result, pictures, tmp_path) -> None:
    folder = vq.save_quantized(result, tmp_path / "saved")
    vq.push_to_hub(folder, "tiny", TOKEN, private=False)  # whose it is, the token says
    assert not hub.repos["ada/tiny"].private
    loaded = vq.load_quantized(downloaded(hub, tmp_path / "got"))
    with torch.no_grad():
        assert torch.equal(loaded(pictures), result(pictures))


def test_an_onnx_file_is_pushed_in_place_of_a_packed_one(hub, packed, pictures, source, tmp_path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    vq.push_to_hub(packed, "ada/tiny", TOKEN)
    result = vq.quantize(source, pictures, vq.integer_form(vq.recipe("minmax", 8, 8)))
    certificate = vq.export(result, tmp_path / "onnx", "onnx", pictures)
    vq.push_to_hub(tmp_path / "onnx", "ada/tiny", TOKEN)
    expected = {"README.md", "certificate.json", "model.onnx", "run_it.py", ".gitattributes"}
    assert files(hub).keys() == expected and len(hub.repos["ada/tiny"].commits) == 3
    session = onnxruntime.InferenceSession(downloaded(hub, tmp_path / "got") / "model.onnx")
    (found,) = session.run(None, {"pictures": pictures.numpy()})
    (own,) = onnxruntime.InferenceSession(certificate.path).run(None, {"pictures": pictures.numpy()})
    assert (found == own).all()


def test_the_same_again_is_no_second_commit(hub: HubServer, packed: Path) -> None:
    vq.push_to_hub(packed, "ada/tiny", TOKEN)
    assert vq.push_to_hub(packed, "ada/tiny", TOKEN) == f"{hub.address}/ada/tiny"
    assert len(hub.repos["ada/tiny"].commits) == 2 and len(hub.uploaded) == 1


def test_the_token_of_a_signed_in_user_is_the_default(hub, packed, monkeypatch) -> None:
    monkeypatch.setattr("vitq_core.publishing.push.get_token", lambda: TOKEN)
    vq.push_to_hub(packed, "ada/tiny")
    assert "model.safetensors" in files(hub)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client tries again at once."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)


@pytest.mark.parametrize("when", ["broken off", "the hub in trouble", "cancelled", "the commit refused"])
def test_stopped_in_the_middle_nothing_is_published_and_a_rerun_goes_on(
    hub: HubServer, packed: Path, impatient: None, when: str
) -> None:
    kind, sentence, more = vq.VitqError, "nothing was published", {}
    if when == "broken off":
        hub.break_uploads, sentence = 1000, "connection broke off: nothing was published"
    elif when == "the hub in trouble":
        hub.faults, sentence = {"/lfs/": 503}, r"could not take ada/tiny \(error 503\): nothing was published"
    elif when == "the commit refused":
        hub.faults, sentence = {"/commit/": 500}, r"could not take ada/tiny \(error 500\)"
    else:
        kind, heard = vq.Cancelled, []
        more = {"progress": lambda _, said: heard.append(said), "cancel": lambda: "Uploading" in str(heard)}
    with pytest.raises(kind, match=sentence):
        vq.push_to_hub(packed, "ada/tiny", TOKEN, **more)
    assert files(hub).keys() == {".gitattributes"} and len(hub.repos["ada/tiny"].commits) == 1
    hub.break_uploads, hub.faults = None, {}
    vq.push_to_hub(packed, "ada/tiny", TOKEN)
    assert files(hub)["model.safetensors"] == (packed / "model.safetensors").read_bytes()
    assert len(hub.repos["ada/tiny"].commits) == 2 and len(hub.uploaded) == 1


def test_cancelled_at_first_nothing_is_made(hub: HubServer, packed: Path) -> None:
    with pytest.raises(vq.Cancelled):
        vq.push_to_hub(packed, "ada/tiny", TOKEN, cancel=lambda: True)
    assert not hub.repos and not hub.requests


@pytest.mark.parametrize(
    ("name", "token", "kind", "sentence"),
    [
        ("ada/tiny", None, vq.VitqError, "pushing takes an access token of the Hugging Face hub that may wr"),
        ("ada/tiny", "  ", vq.VitqError, "pushing takes an access token"),
        ("ada/tiny", "hf_unheardOf", vq.VitqError, "does not know this access token; copy it again from"),
        ("ada/tiny", "hf_two\nlines", vq.VitqError, "does not know this access token"),
        ("ada/tiny", "hf_ümlaut", vq.VitqError, "does not know this access token"),
        ("ada/tiny", READING, vq.VitqError, "this access token of ada may read but not write"),
        ("ada/tiny", OTHERS, vq.VitqError, "this access token may not write to ada/tiny on the Hugging Face"),
        ("a da/ti ny", TOKEN, ValueError, "'a da/ti ny' is not the name of a repository; it should look lik"),
        ("a/b/c", TOKEN, ValueError, "is not the name of a repository"),
        ("", TOKEN, ValueError, "is not the name of a repository"),
        (None, TOKEN, ValueError, "is not the name of a repository"),
    ],
)
def test_what_the_hub_does_not_allow_is_a_sentence(hub, packed, name, token, kind, sentence) -> None:
    with pytest.raises(kind, match=sentence) as caught:
        vq.push_to_hub(packed, name, token)
    assert not hub.repos
    assert not token or not token.strip() or token not in repr(caught.value)


def test_a_hub_that_is_away_is_a_sentence(hub: HubServer, packed: Path) -> None:
    hub.close()
    with pytest.raises(vq.VitqError, match="the Hugging Face hub cannot be reached, or the connection broke"):
        vq.push_to_hub(packed, "ada/tiny", TOKEN)


def test_too_many_requests_are_a_sentence(hub: HubServer, packed: Path) -> None:
    hub.faults = {"whoami": 429}
    with pytest.raises(vq.VitqError, match="too many requests from you; wait a few minutes"):
        vq.push_to_hub(packed, "ada/tiny", TOKEN)


def test_a_repository_of_something_else_is_left_alone(hub: HubServer, packed: Path) -> None:
    hub.repos["ada/tiny"] = Repo({FIRST: {"thesis.tex": b"x", "README.md": b"y"}}, private=True)
    with pytest.raises(vq.VitqError, match=r"ada/tiny is taken: it holds other things \(thesis.tex\)"):
        vq.push_to_hub(packed, "ada/tiny", TOKEN)
    assert [*files(hub)] == ["thesis.tex", "README.md"]


def test_what_is_to_be_private_is_not_pushed_where_everybody_sees_it(hub: HubServer, packed: Path) -> None:
    hub.repos["ada/tiny"] = Repo({FIRST: {"README.md": b"y"}})
    with pytest.raises(vq.VitqError, match="ada/tiny is there already and everybody can see it"):
        vq.push_to_hub(packed, "ada/tiny", TOKEN)
    vq.push_to_hub(packed, "ada/tiny", TOKEN, private=False)
    assert "model.safetensors" in files(hub)


def test_what_is_no_export_asks_nobody(hub: HubServer, packed: Path, tmp_path: Path) -> None:
    with pytest.raises(vq.VitqError, match=r"holds no exported model: it has neither certificate.json nor"):
        vq.push_to_hub(tmp_path, "ada/tiny", TOKEN)
    with pytest.raises(ValueError, match="folder must be the name of a folder"):
        vq.push_to_hub(3, "ada/tiny", TOKEN)
    weights = packed / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x55")
    with pytest.raises(vq.VitqError, match=r"is not the file that its certificate.json is of"):
        vq.push_to_hub(packed, "ada/tiny", TOKEN)
    (packed / "certificate.json").unlink()
    with pytest.raises(vq.VitqError, match="is damaged"):
        vq.push_to_hub(packed, "ada/tiny", TOKEN)
    assert not hub.requests


@pytest.mark.parametrize(
    "changes", [{"path": "../secret"}, {"path": "certificate.json"}, {"format": "gguf"}, {"sha256": 3}, None]
)
def test_a_certificate_of_something_else_sends_nothing(hub, packed: Path, changes: dict | None) -> None:
    path = packed / "certificate.json"
    changed = "[" if changes is None else json.dumps(json.loads(path.read_text()) | changes)
    path.write_text(changed)
    with pytest.raises(vq.VitqError, match="export again"):
        vq.push_to_hub(packed, "ada/tiny", TOKEN)
    assert not hub.requests
