"""Data sets of a hub on 127.0.0.1, described, listed and served in ranges as the real one does."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "c3" * 20


@dataclass
class DataSet:
    """`files` by their paths, all of one commit."""

    files: dict[str, bytes]
    gated: bool = False


@dataclass
class Asked:
    """What was asked for, as "GET /path"."""

    requests: list[str] = field(default_factory=list)

    def resolved(self) -> list[str]:
        """The files that were read."""
        return [each for each in self.requests if each.startswith("GET") and "/resolve/" in each]


class DatasetServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, sets: dict[str, DataSet]) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.sets, self.asked = sets, Asked()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Answer(BaseHTTPRequestHandler):
    server: DatasetServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        self.server.asked.requests.append(f"{self.command} {path}")
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[:2] == ["api", "datasets"] and len(parts) >= 4:
            return self._described("/".join(parts[2:4]), parts[4:], sent)
        if parts[:1] == ["datasets"] and parts[3:4] == ["resolve"]:
            return self._file("/".join(parts[1:3]), parts[4], "/".join(parts[5:]))
        return self._refuse(404)

    def _described(self, name: str, rest: list[str], sent: bytes) -> None:
        known = self.server.sets.get(name)
        if known is None:
            return self._refuse(401, "RepoNotFound")
        if rest[1:2] and rest[1] not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        if rest[:1] == ["tree"]:
            deep = "true" in parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower()
            return self._json(_listed(known, "/".join(rest[2:]), deep))
        if rest[:1] == ["paths-info"]:
            asked = json.loads(sent)["paths"] if sent[:1] == b"{" else parse_qs(sent.decode())["paths"]
            return self._json([_entry(path, known.files[path]) for path in asked if path in known.files])
        files = [{"rfilename": path} for path in known.files]
        gated = "manual" if known.gated else False
        self._json({"id": name, "sha": COMMIT, "private": False, "gated": gated, "siblings": files})

    def _file(self, name: str, revision: str, path: str) -> None:
        known = self.server.sets.get(name)
        if known is None:
            return self._refuse(401, "RepoNotFound")
        if known.gated:
            return self._refuse(403, "GatedRepo")
        data = known.files.get(path)
        if data is None:
            return self._refuse(404, "EntryNotFound")
        start, end, status = 0, len(data), 200
        if asked := self.headers.get("Range", "").removeprefix("bytes="):
            first, _, last = asked.partition("-")
            start, end, status = int(first), min(int(last or len(data) - 1) + 1, len(data)), 206
        ranges = {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"} if status == 206 else {}
        about = {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        self._send(data[start:end], {**about, **ranges}, status)

    def _json(self, value: object) -> None:
        self._send(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, data: bytes, headers: dict | None = None, status: int = 200) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _refuse(self, status: int, code: str = "") -> None:
        self._send(b"", {"X-Error-Code": code} if code else {}, status)

    def log_message(self, *args: object) -> None:
        """Tests print nothing."""


def _listed(known: DataSet, folder: str, deep: bool) -> list[dict]:
    """The files and folders in ``folder``; ``deep``: also in the folders there."""
    inside = f"{folder}/" if folder else ""
    files = {path: data for path, data in known.files.items() if path.startswith(inside)}
    above = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    folders = {path for path in above if path.startswith(inside) and path != "."}
    found = [_entry(path, data) for path, data in files.items()]
    found += [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in sorted(folders)]
    return [each for each in found if deep or "/" not in each["path"].removeprefix(inside)]


def _entry(path: str, data: bytes) -> dict:
    return {"type": "file", "path": path, "size": len(data), "oid": _oid(data)}


def _oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
