"""The section: who publishes, as what, and how it goes. It keeps nothing of a visitor's token."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from html import escape
from importlib.util import find_spec
from threading import Semaphore
from typing import Any

import gradio as gr
from gradio.components import Component

from ..parts import markup
from ..parts.forms import LIGHT
from ..parts.jobs import Job
from ..running.run_parts import start_and_stop, status_line
from ..running.runs import Data, Updates
from .making import Results, Wish, publish
from .under_way import UnderWay

UPLOADS = 2  # at once
# Who follows an upload only waits, and for nobody's run.
FOLLOWING = {
    "concurrency_id": "publish", "concurrency_limit": 20, "show_progress": "hidden",
    "api_visibility": "private",
}  # fmt: skip
LOOK = 0.3  # seconds between two looks at how far it is
IDLE = markup.banner("idle", "Nothing published yet.", "Fill in the boxes, then press Publish.")
LICENCES = ("apache-2.0", "mit", "cc-by-4.0", "cc-by-nc-4.0", "other")
INTRO = (
    "Puts these files on huggingface.co in your name, with a page that says how they were made and how good "
    "they are."
)
TOKEN_INFO = (
    "Made at huggingface.co/settings/tokens, with the right to write. It goes to Hugging Face alone: it is "
    "used once, never kept, and the box is emptied."
)
SIGN_IN = "Sign in with Hugging Face first."


def offers_sign_in() -> bool:
    """Whether this is a Space with `hf_oauth: true`, and what Gradio needs for it is installed."""
    return bool(os.environ.get("OAUTH_CLIENT_ID")) and all(map(find_spec, ("authlib", "itsdangerous")))


class Publishing:
    """Built where it is made, and connected. `shown`: a state with what is on the page (`making.Shown`)."""

    def __init__(self, results: Results, shown: gr.State):
        self.results, self.shown = results, shown
        self._under_way: dict[str, UnderWay] = {}
        self._turns = Semaphore(UPLOADS)
        with gr.Accordion("Publish on Hugging Face", open=False, elem_id="publish"):
            gr.HTML(markup.note(INTRO))
            self.token = self._sign_in()
            self.name = gr.Textbox(
                label="Name", placeholder="my-small-vit", max_lines=1, elem_id="publish-name",
                info="A new repository, or one that you published here before.",
            )  # fmt: skip
            self.licence = gr.Dropdown(
                [("The base model's", ""), *LICENCES], value="", allow_custom_value=True, label="Licence",
                elem_id="publish-licence",
            )  # fmt: skip
            self.private = gr.Checkbox(True, label="Private: only you can see it", elem_id="publish-private")
            self.start, self.stop = start_and_stop("Publish", "publish-start", "publish-cancel")
            self.status = status_line(IDLE, "publish-status")
        self._connect()

    def _sign_in(self) -> gr.Textbox | None:
        """A button on a Space, whose handler is then given the token; elsewhere a box for it."""
        if offers_sign_in():
            gr.LoginButton(elem_id="publish-sign-in")
            return None
        return gr.Textbox(
            label="Access token", type="password", max_lines=1, info=TOKEN_INFO, elem_id="publish-token"
        )

    def _connect(self) -> None:
        """What carries the token does not go through Gradio's queue, which keeps the values of its last event
        until the next one."""
        asked, outputs = {self.name, self.licence, self.private, self.shown}, self._own()
        handler: Callable[..., Any] = self.signed_in
        if self.token is not None:
            handler, asked, outputs = self.with_token, asked | {self.token}, outputs | {self.token}
        begun = self.start.click(handler, asked, outputs, **LIGHT)
        begun.then(self.follow, None, self._own(), **FOLLOWING)
        self.stop.click(self.cancel, None, self.stop, **LIGHT)
        gr.context.Context.root_block.unload(self.leave)

    def _own(self) -> set[Component]:
        return {self.status, self.start, self.stop}

    def with_token(self, data: Data, request: gr.Request) -> Updates:
        """The box is emptied at once."""
        return {**self._begun(data, data[self.token], request), self.token: ""}

    def signed_in(self, data: Data, request: gr.Request, oauth: gr.OAuthToken | None = None) -> Updates:
        if oauth is None:
            return self._ended(markup.banner("error", "Not published.", SIGN_IN))
        return self._begun(data, oauth.token, request)

    def follow(self, request: gr.Request) -> Iterator[Updates]:
        """How far it is, until it has ended."""
        found = self._under_way.get(request.session_hash)
        while found is not None and not found.over(LOOK):
            yield {self.status: found.banner}
        if found is not None:
            self._forget(request, found)
            yield self._ended(found.ended)

    def cancel(self, request: gr.Request) -> Any:
        found = self._under_way.get(request.session_hash)
        if found is not None:
            found.job.abandon()
        return gr.update(interactive=False)

    def leave(self, request: gr.Request) -> None:
        """Nobody sees any more how it ends."""
        self.cancel(request)
        self._under_way.pop(request.session_hash, None)

    def _begun(self, data: Data, token: Any, request: gr.Request) -> Updates:
        self.leave(request)
        wish = Wish(data[self.name], data[self.licence], data[self.private])
        send = partial(publish, self.results, data[self.shown], wish)
        typed = token if isinstance(token, str) else ""
        found = UnderWay(Job(), send, typed, _done, self._turns)
        self._under_way[request.session_hash] = found
        return {
            self.status: found.banner,
            self.start: gr.update(interactive=False),
            self.stop: gr.update(interactive=True),
        }

    def _forget(self, request: gr.Request, found: UnderWay) -> None:
        if self._under_way.get(request.session_hash) is found:
            del self._under_way[request.session_hash]

    def _ended(self, said: str) -> Updates:
        return {
            self.status: said,
            self.start: gr.update(interactive=True),
            self.stop: gr.update(interactive=False),
        }


def _done(address: str) -> str:
    link = f'<a href="{escape(address)}" target="_blank" rel="noopener">{escape(address)}</a>'
    return f'{markup.banner("done", "Published.")}<p class="vq-note">{link}</p>'
