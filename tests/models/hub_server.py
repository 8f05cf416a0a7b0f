"""A hub on 127.0.0.1: repositories with commits, described, served and pushed to as the real one does; its
faults."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

FIRST, SECOND = "a1" * 20, "b2" * 20  # commits
LARGE = (".safetensors", ".pth", ".onnx")  # of these the hub keeps a SHA-256, and another address gives them


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

    `users`: {token: (name, role)}, who may write where their name stands first. `faults`: {part of a path:
    status with which such requests are refused}. `stored`: large files that were pushed, by SHA-256.
    `break_uploads`: bytes after which they break off. `uploaded`: SHA-256 of each that came whole.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, repos: dict[str, Repo] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.repos, self.requests, self.stated, self.tokens = repos or {}, [], {}, set()
        self.status, self.stop_after, self.altered = 0, None, False
        self.pause, self.piece = 0.0, 4096
        self.users: dict[str, tuple[str, str]] = {}
        self.faults: dict[str, int] = {}
        self.stored: dict[str, bytes] = {}
        self.break_uploads: int | None = None
        self.uploaded: list[str] = []
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

    def do_POST(self) -> None:
        parts = self._heard()
        if parts is None:
            return None
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if parts == ["api", "validate-yaml"]:
            return self._json({"errors": [], "warnings": []})
        if self._user is None:
            return self._refuse(401)
        if parts == ["api", "repos", "create"]:
            return self._create(json.loads(data))
        if parts[2:] == ["info", "lfs", "objects", "batch"]:
            name = "/".join(parts[:2]).removesuffix(".git")
            return self._writing(name, lambda repo: self._json({"objects": self._wanted(json.loads(data))}))
        name, kind = "/".join(parts[2:4]), parts[4]
        if kind == "preupload":
            return self._writing(name, lambda repo: self._json({"files": _modes(repo, json.loads(data))}))
        return self._writing(name, lambda repo: self._commit(name, repo, data.decode().splitlines()))

    def do_PUT(self) -> None:
        parts = self._heard()
        if parts is None:
            return
        length, most = int(self.headers["Content-Length"]), self.server.break_uploads
        data = self.rfile.read(length if most is None else min(length, most))
        if len(data) < length:
            self.close_connection = True
            self.connection.close()
            return
        digest = hashlib.sha256(data).hexdigest()
        assert digest == parts[1]
        self.server.stored[digest] = data
        self.server.uploaded.append(digest)
        self._send(b"")

    def _heard(self) -> list[str] | None:
        """The parts of the path; None where the request was refused."""
        path = urlsplit(self.path).path
        self.server.requests.append(f"{self.command} {path}")
        if "Authorization" in self.headers:
            self.server.tokens.add(self.headers["Authorization"])
        status = next((status for part, status in self.server.faults.items() if part in path), None)
        if status is not None:
            self._refuse(status)
            return None
        return [unquote(part) for part in path.strip("/").split("/")]

    @property
    def _user(self) -> tuple[str, str] | None:
        return self.server.users.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def _may_write(self, name: str) -> bool:
        user, role = self._user or ("", "")
        return name.startswith(f"{user}/") and role == "write"

    def _writing(self, name: str, then: Callable[[Repo], None]) -> None:
        repo = self.server.repos.get(name)
        if repo is None:
            return self._refuse(401, "RepoNotFound")
        return then(repo) if self._may_write(name) else self._refuse(403)

    def _create(self, asked: dict) -> None:
        name = f"{asked.get('organization') or self._user[0]}/{asked['name']}"
        there = {"url": f"{self.server.address}/{name}", "name": name}
        if not self._may_write(name):
            return self._refuse(403)
        if name in self.server.repos:
            return self._json({**there, "error": "You already created this model repo"}, 409)
        first = {FIRST: {".gitattributes": b"*.safetensors filter=lfs"}}
        private = asked.get("private", False) or asked.get("visibility") == "private"
        self.server.repos[name] = Repo(first, licence="", private=private)
        return self._json(there)

    def _wanted(self, asked: dict) -> list[dict]:
        """Of the large files those that are not here, each with where to send it."""
        return [
            item if item["oid"] in self.server.stored
            else {**item, "actions": {"upload": {"href": f"{self.server.address}/lfs/{item['oid']}"}}}
            for item in asked["objects"]
        ]  # fmt: skip

    def _commit(self, name: str, repo: Repo, lines: list[str]) -> None:
        files = dict(list(repo.commits.values())[-1])
        for line in map(json.loads, lines):
            key, value = line["key"], line["value"]
            if key == "file":
                files[value["path"]] = b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.server.stored[value["oid"]]
            elif key == "deletedFile":
                del files[value["path"]]
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        repo.commits[commit] = files
        self._json({"commitUrl": f"{self.server.address}/{name}/commit/{commit}", "commitOid": commit})

    def _json(self, answer: dict | list, status: int = 200) -> None:
        self._send(json.dumps(answer).encode(), status=status)

    def _answer(self, body: bool) -> None:
        parts = self._heard()
        if parts is None:
            return None
        if parts == ["api", "whoami-v2"]:
            return self._who()
        if parts[0] == "large":
            return self._large(parts[1])
        described = parts[:2] == ["api", "models"]
        name, rest = "/".join(parts[2:4] if described else parts[:2]), parts[4:] if described else parts[3:]
        repo = self.server.repos.get(name)
        if repo is None or (repo.private and not name.startswith(f"{(self._user or ' ')[0]}/")):
            return self._refuse(401, "RepoNotFound")  # without a token the two look alike
        revision = (rest[1] if rest else "main") if described else rest[0]
        commit = repo.commit(revision)
        if commit is None:
            return self._refuse(404, "RevisionNotFound")
        if described and rest[:1] == ["tree"]:
            return self._json(_listed(repo.commits[commit]))
        if described:
            return self._send(json.dumps(_description(name, repo, commit, self.server.stated)).encode())
        return self._file(repo, commit, rest[1], body)

    def _who(self) -> None:
        if self._user is None:
            return self._refuse(401)
        name, role = self._user
        return self._json({"name": name, "type": "user", "auth": {"accessToken": {"role": role}}})

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


def _modes(repo: Repo, asked: dict) -> list[dict]:
    """Which of the files are large, and what is known of those that are there already."""
    there = list(repo.commits.values())[-1]
    return [
        {
            "path": file["path"],
            "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
            "shouldIgnore": False,
            "oid": _sum(file["path"], there[file["path"]]) if file["path"] in there else None,
        }
        for file in asked["files"]
    ]


def _listed(files: dict[str, bytes]) -> list[dict]:
    """As the hub lists what is in a repository."""
    return [
        {"type": "file", "path": name, "size": len(data), "oid": _git(data)} for name, data in files.items()
    ]


def _sum(name: str, data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() if name.endswith(LARGE) else _git(data)


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
