"""``push_to_hub``: an exported folder as one commit of a repository on the Hugging Face hub.

Through the hub's own client and its plain uploads: those of Xet can be neither watched nor stopped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..common.errors import VitqError
from ..common.monitor import Monitor, Progress
from ..common.quiet import quiet
from ..exporters.export import README
from ..models.hub_errors import THE_HUB, status_of
from .card import HERE
from .folder import MARKS, Exported, exported, known_files
from .push_errors import no_token, of_push, read_only, wrong_token
from .sending import Sending

MINE = (".gitattributes", README)  # what is in a repository that was only just made
UNKNOWN_TOKEN = 401
CHECKED, MADE, SENT = 0.05, 0.1, 0.95  # how much is done when the next part begins
T = TypeVar("T")


def push_to_hub(
    folder: str | Path,
    repo_id: str,
    token: str | None = None,
    private: bool = True,
    progress: Progress | None = None,
    cancel: Any = None,
) -> str:
    """Publish what ``export`` or ``save_quantized`` wrote into ``folder`` as ``repo_id``, and say where.

    ``repo_id``: `user/name`, or a name alone for the token's owner. The repository is made where there is
    none, by default a ``private`` one; one that is there must be of an earlier push. All files go in one
    commit: broken off or cancelled, nothing is published, and the next push sends only what is missing.
    Files beside those of the export are not sent. ``token``: by default that of `hf auth login`; it goes to
    the hub (`HF_ENDPOINT`) and nowhere else. :func:`write_model_card` before it makes the page.

    Raises ValueError for a name that no repository can have, VitqError for a folder without an export and,
    with the reason, for whatever the hub does not allow, Cancelled.
    """
    repo_id, monitor = _name(repo_id), Monitor(progress, cancel)
    monitor.report(0.0, "Checking the files")
    found = exported(folder)
    hub = _Hub(_checked(token), repo_id)
    monitor.report(CHECKED, f"Asking {THE_HUB}")
    hub.sign_in()
    monitor.check()  # before there is anything to leave behind
    there = hub.made(bool(private))
    address = hub.commit(found, there, monitor.part(MADE, SENT))
    monitor.done("Published")
    return address


@dataclass
class _Hub:
    """The hub, asked with somebody's ``token``."""

    token: str = field(repr=False)
    repo: str
    _api: HfApi = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=self.token)

    def sign_in(self) -> None:
        """Whose token it is. Completes the repository's name; NoToken for one that cannot write."""
        who = self._asked(self._api.whoami, wrong_token())
        if self.repo.count("/") == 0:
            self.repo = f"{who['name']}/{self.repo}"
        if who.get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise read_only(who["name"])

    def made(self, private: bool) -> set[str]:
        """The names of the files in the repository, which is there afterwards. VitqError for one that holds
        something else, or would show to everybody what was to be private."""
        self._asked(lambda: self._api.create_repo(self.repo, private=private, exist_ok=True))
        info = self._asked(lambda: self._api.model_info(self.repo))
        there = {file.rfilename for file in info.siblings or ()}
        if not there.intersection(MARKS) and there.difference(MINE):
            some = sorted(there.difference(MINE))[0]
            raise VitqError(f"{self.repo} is taken: it holds other things ({some}); choose another name")
        if private and not info.private:
            raise VitqError(
                f"{self.repo} is there already and everybody can see it; choose another name, or push with "
                "private=False"
            )
        return there

    def commit(self, found: Exported, there: set[str], monitor: Monitor) -> str:
        """All files in one step, and without those of an earlier push that it has not. Its address."""
        readme = found.folder / README
        sent = [path for path in found.paths if path != readme]
        with closing(Sending(sent, monitor)) as sending:
            operations = self._operations(sending, sent, readme, there)
            sending.begin()
            message = f"Quantized with VitQ Studio ({found.exporter.title})"
            self._asked(lambda: self._api.create_commit(self.repo, operations, commit_message=message))
        return f"{self._api.endpoint.rstrip('/')}/{self.repo}"

    def _operations(
        self, sending: Sending, sent: Sequence[Path], readme: Path, there: set[str]
    ) -> list[CommitOperationAdd | CommitOperationDelete]:
        pairs = zip(sent, sending.files, strict=True)
        added = [CommitOperationAdd(path.name, file) for path, file in pairs]
        if readme.is_file():
            page = readme.read_text(encoding="utf-8").replace(HERE, self.repo)
            added.append(CommitOperationAdd(README, page.encode()))
        old = (there & known_files()) - {operation.path_in_repo for operation in added}
        return [*added, *map(CommitOperationDelete, sorted(old))]

    def _asked(self, ask: Callable[[], T], unknown: VitqError | None = None) -> T:
        """Its answer. A failure is raised where the client's own error, which knows the request and its
        headers, is no part of it any more; ``unknown``: where the hub does not know who asks."""
        with quiet("huggingface_hub._commit_api"):  # which warns of files that do not go through Xet
            try:
                return ask()
            except Exception as error:  # the client lets errors of its HTTP library through
                failure = unknown if unknown is not None and status_of(error) == UNKNOWN_TOKEN else None
                failure = failure or of_push(error, self.repo, self.token)
        raise failure


def _name(repo_id: object) -> str:
    if isinstance(repo_id, str):
        with suppress(HFValidationError):
            validate_repo_id(repo_id)
            return repo_id
    raise ValueError(f"{repo_id!r:.120} is not the name of a repository; it should look like user/name")


def _checked(token: str | None) -> str:
    """A token that a request's header can hold: the client repeats others in its error."""
    token = (get_token() if token is None else token) or ""
    if not isinstance(token, str) or not token.strip():
        raise no_token()
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise wrong_token()
    return token
