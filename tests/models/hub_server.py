"""A hub on 127.0.0.1: repositories with commits, described and served as the real one does; its faults."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

FIRST, SECOND = "a1" * 20, "b2" * 20  # commits
LARGE = (".safetensors", ".pth")  # of these the hub keeps a SHA-256, and another address gives them


@dataclass
class Repo:
    """`commits`: {commit: {file: bytes}}, the newest last, which is `main`. `tags`: {name: commit}."""

    commits: dict[str, dict[str, bytes]]
    tags: dict[str, str] = field(default_factory=dict)
    licence: str = "apache-2.0"
    gated: bool = False
    private: bool = False

    def commit(self, revision: str) -> str | None:
        newest = list(self.commits)[-1]
        return {"main": newest, **self.tags, **{each: each for each in self.commits}}.get(revision)


class HubServer(ThreadingHTTPServer):
    """`repos` by user/name. `requests`: "GET /path" of each.

    `status`: with which files are refused, if not 0. `stop_after`: bytes after which large files break off.
    `altered`: whether they are not what is published. `pause`: seconds between two of their pieces of `piece`
    bytes. `tokens`: those it was sent. `stated`: {file: bytes that it is said to have}.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, repos: dict[str, Repo] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.repos, self.requests, self.stated, self.tokens = repos or {}, [], {}, set()
        self.status, self.stop_after, self.altered = 0, None, False
        self.pause, self.piece = 0.0, 4096
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def elsewhere(self) -> str:
        """Another host, as it seems: the client follows a redirection to the same one by itself."""
        return f"http://localhost:{self.server_port}"

    def asked(self, part: str) -> list[str]:
        """The requests for a path with `part` in it."""
        return [each for each in self.requests if part in each]

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Answer(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.0"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = urlsplit(self.path).path
        self.server.requests.append(f"{self.command} {path}")
        if "Authorization" in self.headers:
            self.server.tokens.add(self.headers["Authorization"])
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[0] == "large":
            return self._large(parts[1])
        described = parts[:2] == ["api", "models"]
        name, rest = "/".join(parts[2:4] if described else parts[:2]), parts[4:] if described else parts[3:]
        repo = self.server.repos.get(name)
        if repo is None or repo.private:  # without a token the two look alike
            return self._refuse(401, "RepoNotFound")
        revision = rest[1] if described else rest[0]
        commit = repo.commit(revision)
        if commit is None:
            return self._refuse(404, "RevisionNotFound")
        if described:
            return self._send(json.dumps(_description(name, repo, commit, self.server.stated)).encode())
        return self._file(repo, commit, rest[1], body)

    def _file(self, repo: Repo, commit: str, filename: str, body: bool) -> None:
        data = repo.commits[commit].get(filename)
        if repo.gated:
            return self._refuse(403, "GatedRepo")
        if data is None:
            return self._refuse(404, "EntryNotFound")
        if self.server.status:
            return self._refuse(self.server.status)
        if not filename.endswith(LARGE):
            return self._send(
                data if body else b"", {"ETag": f'"{_git(data)}"', "X-Repo-Commit": commit}, len(data)
            )
        digest = hashlib.sha256(data).hexdigest()
        size = self.server.stated.get(filename, len(data))
        linked = {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(size), "X-Repo-Commit": commit}
        self._send(b"", {**linked, "Location": f"{self.server.elsewhere}/large/{digest}"}, status=302)

    def _large(self, digest: str) -> None:
        files = [
            data
            for repo in self.server.repos.values()
            for each in repo.commits.values()
            for data in each.values()
        ]
        data = next(data for data in files if hashlib.sha256(data).hexdigest() == digest)
        asked = self.headers.get("Range", "")
        self.server.requests.append(f"range {asked}") if asked else None
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start >= len(data):
            return self._refuse(416)
        sent = data[::-1] if self.server.altered else data
        sent = sent[start:]
        self._send(sent[: self.server.stop_after], length=len(sent), status=206 if start else 200)

    def _send(
        self, data: bytes, headers: dict | None = None, length: int | None = None, status: int = 200
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        try:
            for start in range(0, len(data), self.server.piece if self.server.pause else max(len(data), 1)):
                step = self.server.piece if self.server.pause else len(data)
                self.wfile.write(data[start : start + step])
                time.sleep(self.server.pause)
        except OSError:  # the other side has had enough
            return

    def _refuse(self, status: int, code: str = "") -> None:
        self._send(b"", {"X-Error-Code": code} if code else {}, status=status)

    def log_message(self, *args: object) -> None:
        """Tests print nothing."""


def _description(name: str, repo: Repo, commit: str, stated: dict[str, int]) -> dict:
    """What the hub's API says of a model."""
    files = [
        {"rfilename": filename, "size": stated.get(filename, len(data))}
        for filename, data in repo.commits[commit].items()
    ]
    tags = [f"license:{repo.licence}"] if repo.licence else []
    gated = "manual" if repo.gated else False
    return {
        "id": name,
        "sha": commit,
        "private": repo.private,
        "gated": gated,
        "tags": tags,
        "siblings": files,
    }


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
