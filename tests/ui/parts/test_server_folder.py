"""A server's files: gone at its end, and swept by the next server where it was killed."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ui.parts.server_folder import ServerFolder

SERVER = """
from ui.parts.server_folder import ServerFolder
server = ServerFolder()
(server.folder("downloads") / "model.zip").write_text("x")
print(server.path, flush=True)
input()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def server():
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def test_a_killed_servers_files_go_when_the_next_one_starts_and_a_live_ones_stay(server, temporary):
    folder = Path(server.stdout.readline().strip())
    assert folder.parent == temporary and folder.name.startswith(f"vitq-server-{server.pid}-")
    mine = ServerFolder()
    assert (folder / "downloads" / "model.zip").exists()
    server.kill()  # SIGKILL: nothing is cleaned up
    server.wait()
    assert folder.exists()
    other = ServerFolder()
    assert set(temporary.iterdir()) == {mine.path, other.path}


def test_a_server_that_ends_takes_its_files_with_it(server, temporary):
    server.stdout.readline()
    server.communicate("\n")
    assert server.returncode == 0 and list(temporary.iterdir()) == []


def test_folders_that_are_no_servers_stay(temporary):
    for name in ("vitq-server-1-2-starting", "vitq-else"):
        (temporary / name).mkdir()
    ServerFolder()
    assert (temporary / "vitq-server-1-2-starting").exists() and (temporary / "vitq-else").exists()
