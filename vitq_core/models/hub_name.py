"""How a model of the Hugging Face hub is called: its repository and a revision, typed or pasted."""

import re
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

PREFIX = "hf-hub:"
HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
OTHERS = (
    "datasets",
    "spaces",
    "buckets",
    "collections",
    "papers",
    "docs",
    "blog",
)  # kinds of pages beside models
IN_REVISION = ("tree", "blob", "resolve", "commit")  # what stands before a revision in an address
MAIN = "main"
SHORT = 7  # digits of a commit, where people read it
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"\w[\w.\-/]{0,99}")


@dataclass(frozen=True)
class HubName:
    """`repo`: user/name. `revision`: a branch, a tag or a commit."""

    repo: str
    revision: str = MAIN

    @property
    def id(self) -> str:
        """What `load_model` takes."""
        return f"{PREFIX}{self.source}"

    @property
    def source(self) -> str:
        """user/name@revision."""
        return f"{self.repo}@{self.revision}"

    @property
    def short(self) -> str:
        """For people: without `main`, and with the first digits of a commit."""
        if self.revision == MAIN:
            return self.repo
        return f"{self.repo}@{self.revision[:SHORT] if self.is_commit else self.revision}"

    @property
    def is_commit(self) -> bool:
        """Whether the revision can only ever mean the same files."""
        return _COMMIT.fullmatch(self.revision) is not None

    def at(self, commit: str) -> "HubName":
        return replace(self, revision=commit)


def hub_name(text: str, bare: bool = False) -> HubName | None:
    """What `hf-hub:user/name`, `timm/name` or the address of a page means, with `@revision` or without.

    `bare`: `user/name` alone is meant so too. None for what is not meant as a name of the hub. Raises
    ValueError for one that no model can have.
    """
    text = text.strip()
    address = _address(text)
    if address is not None:
        return _checked(*address)
    name, _, revision = text.removeprefix(PREFIX).partition("@")
    meant = text.startswith(PREFIX) or name.startswith("timm/") or bare
    return _checked(name, revision or MAIN) if meant and name.count("/") == 1 else None


def _address(text: str) -> tuple[str, str] | None:
    """(repository, revision) of a page's address; None where it is none. ValueError for another page."""
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
    except ValueError:  # brackets that hold no address of a machine, and the like
        return None
    if parts.hostname not in HOSTS:
        return None
    path, _, tagged = parts.path.strip("/").partition("@")
    user, name, kind, revision = (*path.split("/", 4), "", "", "", "")[:4]
    if user in OTHERS or not name:
        raise ValueError(f"{text!r:.120} is no model's page; its address is https://{HOSTS[0]}/user/name")
    found = unquote(revision) if kind in IN_REVISION else ""
    return f"{user}/{name}", found or tagged or MAIN


def _checked(repo: str, revision: str) -> HubName:
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ValueError(
            f"{repo!r:.120} is not the name of a repository; it should look like user/name"
        ) from error
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise ValueError(
            f"{revision!r:.120} is no revision of {repo}; it should be a branch, a tag or a commit"
        )
    return HubName(repo, revision)
