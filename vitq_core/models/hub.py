"""Downloading a model that the user picked from the Hugging Face hub, into `VITQ_HOME`."""

import os
from pathlib import Path
from typing import Any

from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..common.errors import VitqError
from ..common.home import vitq_home

SECONDS = 10
CONFIG, WEIGHTS, PICKLED = "config.json", "model.safetensors", "model.pth"


class MissingFile(VitqError):
    """A repository that is there and lacks a file."""


def fetch_model(repo: str) -> Path:
    """The folder with the weights of `user/name` or `user/name@revision`, and its config.json if it has one.

    Weights are model.safetensors, or else model.pth. What was downloaded before is used without a look at the
    network. `HF_ENDPOINT` names another hub. Raises VitqError with the reason when it cannot be had.
    """
    name, _, revision = repo.partition("@")
    revision = revision or "main"
    try:
        # The same commit for both files, even if somebody pushes in between.
        revision = _get(name, CONFIG, revision).parent.name
    except MissingFile:
        pass  # weights may tell by themselves what they are
    except VitqError:
        # A repository without one does not need the network for what is here.
        if _weights_here(name, revision) is None:
            raise
    return (_weights_here(name, revision) or _fetched_weights(name, revision)).parent


def _weights_here(name: str, revision: str) -> Path | None:
    found = (_downloaded(name, weights, revision) for weights in (WEIGHTS, PICKLED))
    return next((path for path in found if path is not None), None)


def _fetched_weights(name: str, revision: str) -> Path:
    try:
        return _get(name, WEIGHTS, revision)
    except MissingFile as missing:
        try:
            return _get(name, PICKLED, revision)
        except MissingFile:
            raise missing from None


def _get(repo: str, filename: str, revision: str) -> Path:
    found = _downloaded(repo, filename, revision)
    if found is not None:
        return found
    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        # A network that is down shows here at once; the download itself would keep trying for half a minute.
        get_hf_file_metadata(
            hf_hub_url(repo, filename, revision=revision, endpoint=endpoint), timeout=SECONDS
        )
        return Path(hf_hub_download(**_where(repo, filename, revision), endpoint=endpoint))
    except (
        Exception
    ) as error:  # the client lets errors of its HTTP library through, another one in each version
        kind = MissingFile if _is_missing(error) else VitqError
        raise kind(_sentence(error, repo, filename)) from error


def _downloaded(repo: str, filename: str, revision: str) -> Path | None:
    try:
        return Path(hf_hub_download(**_where(repo, filename, revision), local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise ValueError(
            f"{repo!r} is not the name of a repository; it should look like user/name"
        ) from error


def _where(repo: str, filename: str, revision: str) -> dict[str, Any]:
    return {"repo_id": repo, "filename": filename, "revision": revision, "cache_dir": vitq_home() / "hub"}


def _is_missing(error: Exception) -> bool:
    """The file; not the repository, its revision or the network."""
    return isinstance(error, EntryNotFoundError) and _status(error) == 404


def _sentence(error: Exception, repo: str, filename: str) -> str:
    """What went wrong, most particular first (a gated repository is also one not found, and so on)."""
    status = _status(error)
    if isinstance(error, GatedRepoError):
        return f"{repo} asks for its terms to be accepted on the Hugging Face hub before it can be downloaded"
    if isinstance(error, RepositoryNotFoundError):
        return f"there is no {repo} on the Hugging Face hub, or it is private"
    if isinstance(error, RevisionNotFoundError):
        return f"{repo} on the Hugging Face hub has no such revision"
    if status is not None and status >= 500:
        return f"the Hugging Face hub could not serve {filename} of {repo} (error {status}); try again later"
    if isinstance(error, LocalEntryNotFoundError) or _is_network(error):
        return (
            f"{repo} is not downloaded yet and the Hugging Face hub cannot be reached; "
            "pick a bundled model to work offline"
        )
    if isinstance(error, EntryNotFoundError):
        return f"{repo} has no {filename}; only models with {CONFIG} and {WEIGHTS} can be loaded"
    return f"{filename} of {repo} could not be downloaded completely; try again ({brief(error)})"


def _status(error: BaseException | None) -> int | None:
    """The HTTP status at the root of `error`, which the client wraps when it falls back to its cache."""
    while error is not None:
        if isinstance(error, HfHubHTTPError) and error.response is not None:
            return error.response.status_code
        error = error.__cause__
    return None


def _is_network(error: Exception) -> bool:
    """No connection, by the names in the HTTP libraries the client has used (requests, httpx, httpx2)."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"ConnectionError", "ConnectError", "Timeout", "TimeoutException", "ProxyError"})


def brief(error: BaseException, length: int = 160) -> str:
    """An error's message as one line of at most `length` characters; its type if it has none."""
    line = " ".join(str(error).split()) or type(error).__name__
    return line if len(line) <= length else line[: length - 1] + "…"
