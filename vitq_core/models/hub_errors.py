"""What goes wrong between here and the Hugging Face hub, in a sentence each."""

from urllib.error import HTTPError

from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..common.errors import VitqError
from ..common.words import brief
from .hub_name import HubName

CONFIG, WEIGHTS, PICKLED = "config.json", "model.safetensors", "model.pth"
THE_HUB = "the Hugging Face hub"


class MissingFile(VitqError):
    """A repository that is there and lacks a file."""


class Unreachable(VitqError):
    """The hub cannot be asked, or has no answer just now."""


def of_client(error: Exception, name: HubName, filename: str) -> VitqError:
    """What the hub's client raised when it asked for a file, as a sentence."""
    return _kind(error)(_sentence(error, name, filename))


def gated(repo: str) -> VitqError:
    return VitqError(
        f"{repo} asks for its terms to be accepted on {THE_HUB} before it can be downloaded; download it "
        "there yourself, and give its folder to vq.load_model"
    )


def missing(repo: str) -> VitqError:
    return VitqError(f"there is no {repo} on {THE_HUB}, or it is private; is its name right?")


def without(repo: str, filename: str) -> MissingFile:
    return MissingFile(f"{repo} has no {filename}; only models with {CONFIG} and {WEIGHTS} can be loaded")


def _kind(error: Exception) -> type[VitqError]:
    if (
        isinstance(error, EntryNotFoundError) and status_of(error) == 404
    ):  # not the repository, or its revision
        return MissingFile
    return Unreachable if is_network(error) or (status_of(error) or 0) >= 500 else VitqError


def _sentence(error: Exception, name: HubName, filename: str) -> str:
    """Most particular first: a gated repository is also one not found, and so on."""
    status, repo = status_of(error), name.repo
    if isinstance(error, GatedRepoError):
        return str(gated(repo))
    if isinstance(error, RepositoryNotFoundError):
        return str(missing(repo))
    if isinstance(error, RevisionNotFoundError):
        return f"{repo} on {THE_HUB} has no revision {name.revision}; without @revision its newest is taken"
    if status is not None and status >= 500:
        return f"{THE_HUB} could not serve {filename} of {repo} (error {status}); try again later"
    if isinstance(error, LocalEntryNotFoundError) or is_network(error):
        return (
            f"{repo} is not downloaded yet and {THE_HUB} cannot be reached; pick a bundled model to work "
            "offline"
        )
    if isinstance(error, EntryNotFoundError):
        return str(without(repo, filename))
    return f"{filename} of {repo} could not be read from {THE_HUB}; try again ({brief(error)})"


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status at the root of `error`, which the client wraps when it falls back to its cache."""
    while error is not None:
        if isinstance(error, HfHubHTTPError) and error.response is not None:
            return error.response.status_code
        error = error.__cause__
    return None


def is_network(error: Exception) -> bool:
    """No connection, by the names in the HTTP libraries that are used or once were."""
    if isinstance(error, HTTPError):
        return False
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(
        names & {"ConnectionError", "TransportError", "Timeout", "TimeoutError", "URLError", "ProxyError"}
    )
