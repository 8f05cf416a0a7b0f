"""The token goes to the hub and nowhere else: no log, no output, no exception, no file, no repr has it."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest

import vitq_core as vq
from tests.models.hub_server import FIRST, HubServer, Repo
from vitq_core.publishing.push import _Hub
from vitq_core.publishing.push_errors import of_push

from .conftest import OTHERS, READING, TOKEN

UNKNOWN, BROKEN = "hf_unknownSecret4", "hf_broken\nSecret5"
FAULTS = (
    {}, {"whoami": 500}, {"repos/create": 400}, {"repos/create": 403}, {"preupload": 403}, {"batch": 401},
    {"/lfs/": 404}, {"/commit/": 409}, {"/commit/": 413}, {"validate-yaml": 500},
)  # fmt: skip


def hidden(texts: list[str]) -> None:
    for token in (TOKEN, READING, OTHERS, UNKNOWN, BROKEN):
        for part in (token, token.splitlines()[-1]):
            assert not any(part in text for text in texts)


@pytest.fixture
def listening(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every logger that may hear of a request says all it can."""
    for name in ("", "huggingface_hub", "httpx", "httpx2", "httpcore", "httpcore2", "urllib3"):
        caplog.set_level(logging.DEBUG, name)
    monkeypatch.setattr(logging.getLogger("huggingface_hub"), "propagate", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)


@pytest.mark.parametrize("faults", FAULTS, ids=str)
def test_nothing_that_is_said_or_kept_holds_it(
    hub: HubServer, packed: Path, listening: None, caplog, capfd, tmp_path, monkeypatch, faults: dict
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    hub.repos["ada/thesis"] = Repo({FIRST: {"thesis.tex": b"x"}}, private=True)
    hub.faults, said, told = faults, [], []
    asked = [("ada/tiny", each) for each in (TOKEN, READING, OTHERS, UNKNOWN, BROKEN)]
    for name, token in [*asked, ("ada/thesis", TOKEN), ("bad name", TOKEN)]:
        try:
            vq.push_to_hub(packed, name, token, progress=lambda *words: told.append(words))
        except (vq.VitqError, ValueError) as error:
            assert error.__cause__ is None and error.__context__ is None
            said += [str(error), repr(error), *traceback.format_exception(error)]
    assert f"Bearer {TOKEN}" in hub.tokens  # they were sent
    hidden([*said, repr(told), caplog.text, *(repr(vars(record)) for record in caplog.records)])
    hidden([*capfd.readouterr()])
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        hidden([path.read_bytes().decode("latin-1"), path.name])
    for repo in hub.repos.values():
        hidden([data.decode("latin-1") for files in repo.commits.values() for data in files.values()])
    assert any("whoami" in record.getMessage() for record in caplog.records)  # somebody listened


def test_a_client_that_repeats_it_is_not_repeated() -> None:
    error = of_push(RuntimeError(f"Illegal header value b'Bearer {TOKEN}'"), "ada/tiny", TOKEN)
    assert str(error).endswith("did not take ada/tiny: Illegal header value b'Bearer …'")


def test_what_holds_it_does_not_show_it() -> None:
    hidden([repr(_Hub(TOKEN, "ada/tiny"))])
