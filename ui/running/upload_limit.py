"""Uploads are refused before their first byte where there is no room for them."""

from typing import Any

from anyio import to_thread
from starlette.responses import PlainTextResponse

from ..parts.uploads import Uploads

UNSAID = "Say how large this upload is, in the header Content-Length."


class UploadLimit:
    """ASGI middleware around the whole app."""

    def __init__(self, app: Any, uploads: Uploads):
        self.app, self.uploads = app, uploads

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].endswith("/upload"):
            await self.app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"")
        if not length.isdigit():
            await PlainTextResponse(UNSAID, 411)(scope, receive, send)
            return
        coming = self.uploads.coming(int(length))
        try:
            await to_thread.run_sync(coming.__enter__)
        except ValueError as error:
            await PlainTextResponse(str(error), 413)(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        finally:
            coming.__exit__(None, None, None)
