"""Real groups of processes: what they share, and how they end where one of them dies or fails."""

import signal
import socket

import pytest

from vitq_core.common.errors import VitqError
from vitq_core.common.processes import joined

from ...workers import free_port, started, torchrun

SHARES = """
def work(group):
    assert list(group.shard(range(5))) == list(range(group.rank, 5, group.size))
    texts = group.together(f"{group.rank} {group.device}", lambda texts: ", ".join(texts))
    assert group.share("from the first" if group.first else None) == "from the first"
    open(f"{sys.argv[1]}/{group.rank}", "w").write(texts)
told(work)
"""
KILLED = """
def work(group):
    group.together("all are there", lambda texts: "")
    if group.rank == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    group.together("", lambda texts: "")
told(work)
"""
FAILS = """
def work(group):
    if group.rank == int(sys.argv[1]):
        raise {error}
    group.together("", lambda texts: "")
told(work)
"""
STUCK = """
import time
def work(group):
    if group.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(100)  # never asks
from vitq_core.common.processes import watch
watch.GRACE = 1.0
told(work)
"""


def test_workers_of_torchrun_share_and_gather(tmp_path) -> None:
    ended = torchrun(tmp_path, SHARES, tmp_path, workers=3)
    assert ended.codes == [0], ended.stderr
    assert {(tmp_path / str(rank)).read_text() for rank in range(3)} == {"0 cpu, 1 cpu, 2 cpu"}


def test_a_killed_worker_ends_torchrun_with_its_name(tmp_path) -> None:
    ended = torchrun(tmp_path, KILLED, 1)
    assert ended.codes == [1]
    assert ended.said == [f"{worker(1)} died: its process has ended, killed or out of memory"]
    assert "WorkerLost" not in ended.stderr


def test_the_first_worker_may_die_too(tmp_path) -> None:
    """It keeps the store where nobody else does."""
    ended = started(tmp_path, KILLED, 0)
    assert ended.codes == [-signal.SIGKILL, 1]
    (sentence,) = ended.said
    assert sentence.startswith(f"{worker(0)} died: ")


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_of_one_is_said_once_and_ends_all(tmp_path, rank: int) -> None:
    ended = started(tmp_path, FAILS.format(error="ValueError('these are no pictures')"), rank)
    assert ended.codes == [1, 1]
    assert ended.said == [f"{worker(1)} failed: these are no pictures" if rank else "these are no pictures"]


def test_a_worker_that_never_asks_is_ended(tmp_path) -> None:
    ended = started(tmp_path, STUCK)
    assert ended.codes == [1, -signal.SIGKILL]
    assert f"{worker(1)} died: its process has ended" in ended.stderr


def worker(rank: int) -> str:
    return f"worker {rank} of 2 on {socket.gethostname()}"


def test_alone_where_nothing_is_set(monkeypatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with joined() as group:
        assert (group.rank, group.size, group.first) == (0, 1, True)
        assert group.together("a", "+".join) == "a" and group.note(3) == 3
        group.check()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR is not set; start them by torchrun"),
        (
            {"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
            "RANK must be from 0 to WORLD_SIZE - 1, got '2' of '2'",
        ),
        (
            {"RANK": "x", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
            "RANK must be from 0",
        ),
        (
            {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
            "the other 1 workers were not reached at localhost:1 within 1 seconds",
        ),
    ],
)
def test_variables_that_name_no_group(monkeypatch, given: dict[str, str], sentence: str) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_USE_AGENT_STORE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(VitqError, match=sentence), joined(coming=1):
        raise AssertionError("nobody is joined")


def test_one_that_does_not_come_is_named(monkeypatch) -> None:
    port = free_port()
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    given = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    sentence = r"worker 1 of 2 did not come within 1 seconds|were not reached"
    with pytest.raises(VitqError, match=sentence), joined(coming=1):
        raise AssertionError("nobody is joined")
