"""A real server on 127.0.0.1 that gives files in ranges, and breaks off when told to."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """`files`: {name: bytes}. `requests`: (name, Range or "") of each. `status`: refuses with it if not 0.

    `stop_after`: bytes after which an answer breaks off. `ranges`: whether it knows what they are.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files, self.requests = files, []
        self.status, self.stop_after, self.ranges, self.sized = 0, None, True, True
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/files"

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Answer(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        name, asked = self.path.removeprefix("/files/"), self.headers.get("Range", "")
        self.server.requests.append((name, asked))
        data = self.server.files.get(name)
        if self.server.status or data is None:
            return self._head(self.server.status or 404, 0)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        if start >= len(data):
            return self._head(416, 0)
        self._head(206 if start else 200, len(data) - start)
        self.wfile.write(data[start:][: self.server.stop_after])

    def _head(self, status: int, length: int) -> None:
        self.send_response(status)
        if self.server.sized:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Tests print nothing."""
