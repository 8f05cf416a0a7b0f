"""What goes wrong when a model is pushed, in a sentence each; none of them holds the token."""

from __future__ import annotations

from collections.abc import Iterator

from ..common.errors import Cancelled, VitqError
from ..common.words import brief
from ..models.hub_errors import THE_HUB, Unreachable, is_network, status_of

TOKENS = "https://huggingface.co/settings/tokens"
HIDDEN = "…"
AGAIN = "nothing was published, and what has arrived there is not sent again: push once more"
NO_RIGHT, MISSING, TAKEN, MANY = (402, 403), (401, 404), 409, 429


class NoToken(VitqError):
    """Nobody is signed in, or not with what the hub knows."""


def no_token() -> NoToken:
    return NoToken(
        f"pushing takes an access token of {THE_HUB} that may write; make one at {TOKENS}, and give it as "
        "token= or sign in with `hf auth login`"
    )


def wrong_token() -> NoToken:
    return NoToken(f"{THE_HUB} does not know this access token; copy it again from {TOKENS}")


def read_only(user: str) -> NoToken:
    return NoToken(
        f"this access token of {user} may read but not write; make one with the right to write at {TOKENS}"
    )


def of_push(error: Exception, repo: str, token: str) -> VitqError:
    """What the hub's client raised, as a sentence without the token."""
    chain = [*_chain(error)]
    if any(isinstance(each, Cancelled) for each in chain):
        return Cancelled(f"cancelled: {AGAIN}")
    status = next(filter(None, map(status_of, chain)), None)
    if status is None and any(isinstance(each, Exception) and is_network(each) for each in chain):
        return Unreachable(f"{THE_HUB} cannot be reached, or the connection broke off: {AGAIN}")
    if status is not None and status >= 500:
        return Unreachable(f"{THE_HUB} could not take {repo} (error {status}): {AGAIN}")
    if status == MANY:
        return Unreachable(f"{THE_HUB} has had too many requests from you; wait a few minutes: {AGAIN}")
    if status in NO_RIGHT:
        return VitqError(
            f"this access token may not write to {repo} on {THE_HUB}; use one that may, or another name"
        )
    if status in MISSING:
        return VitqError(
            f"there is no {repo} on {THE_HUB} that this access token may write to; is its name right?"
        )
    said = brief(chain[-1] if status is None else error, 200).replace(token, HIDDEN)
    if status == TAKEN:
        return VitqError(f"{repo} on {THE_HUB} was changed meanwhile, or its name is taken: {AGAIN}")
    return VitqError(f"{THE_HUB} did not take {repo}: {said}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that it came from."""
    while error is not None:
        yield error
        error = error.__cause__
