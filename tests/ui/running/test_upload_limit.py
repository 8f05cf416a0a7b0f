"""Uploads to the real app, bounded."""

from pathlib import Path

import pytest
from gradio.routes import App
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from ui.parts.memory import MB
from ui.parts.uploads import Uploads
from ui.running.upload_limit import UploadLimit
from ui.studio import build_studio


@pytest.fixture
def uploads(bench) -> Uploads:
    return bench.uploads


@pytest.fixture
def client(bench, uploads, monkeypatch) -> TestClient:
    """The app, with 4 MB beside the page's own files."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(uploads.folder))
    studio = build_studio(bench)
    studio.max_file_size = None  # what launch would set
    uploads.limit = 4 * MB + sum(path.stat().st_size for path in files(uploads))
    limited = Middleware(UploadLimit, uploads=uploads)
    return TestClient(App.create_app(studio, app_kwargs={"middleware": [limited]}))


def files(uploads: Uploads) -> set[Path]:
    return {path for path in uploads.folder.rglob("*") if path.is_file()}


def send(client: TestClient, name: str, size: int):
    return client.post("/gradio_api/upload", files={"files": (name, bytes([len(name)]) * size)})


def test_uploading_again_and_again_fills_no_disk(client, uploads):
    own = files(uploads)
    for number in range(5):
        assert send(client, "x" * (number + 1), MB).status_code == 200
    # Three and the one that comes: an upload is a little larger than its file.
    assert sorted(path.name for path in files(uploads) - own) == ["xxx", "xxxx", "xxxxx"]
    assert own and own < files(uploads)


def test_one_upload_larger_than_all_may_be_is_a_sentence(client, uploads):
    own = files(uploads)
    answer = send(client, "x", int(uploads.limit) + 1)
    assert (answer.status_code, files(uploads)) == (413, own)
    assert "MB is too large: the server keeps" in answer.text


def test_an_upload_that_hides_its_size_is_refused(client):
    answer = client.post("/gradio_api/upload", content=iter([b"x"]))
    assert answer.status_code == 411
    assert "Content-Length" in answer.text
    assert client.get("/config").status_code == 200
