"""One open page of the studio over HTTP: what its browser does with events, without drawing anything.

Its own session, the token that its browser keeps, and the values of all components, changed by the answers.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Lock, Thread
from typing import Any

import httpx

PATIENCE = 900.0  # seconds for an answer
AT_ONCE = 6  # requests of one page, as a browser has them
UPDATE = "__type__"
CLICKS = re.compile(r"querySelector\('#([\w-]+)'\)\.click\(\)")
Config = Mapping[str, Any]


@dataclass(frozen=True)
class Heard:
    """An answer of the server. `light`: it had no place in the queue. `error`: empty where there was none."""

    name: str
    light: bool
    begun: float
    seconds: float
    text: str
    error: str = ""


class Page:
    """`heard(Heard)` is told every answer, from any thread."""

    def __init__(self, url: str, config: Config, heard: Callable[[Heard], None], token: str = "") -> None:
        self.session, self.heard = secrets.token_hex(8), heard
        self.client = httpx.Client(base_url=url, timeout=PATIENCE)
        self.props = {part["id"]: deepcopy(part["props"]) for part in config["components"]}
        self.types = {part["id"]: part["type"] for part in config["components"]}
        self.events = {event["id"]: event for event in config["dependencies"]}
        self.ids = {props["elem_id"]: number for number, props in self.props.items() if props.get("elem_id")}
        self._after: dict[int, list[Config]] = {}
        for event in config["dependencies"]:
            if event["trigger_after"] is not None:
                self._after.setdefault(event["trigger_after"], []).append(event)
        self._keeper = next(number for number, kind in self.types.items() if kind == "browserstate")
        self.props[self._keeper]["value"] = token
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._changed, self._lock = Condition(), Lock()
        self._open: dict[int, int] = {}  # {event: requests of it under way or waiting}
        self._again: set[int] = set()
        self._asked: dict[int, str] = {}  # {event: its id in the queue}
        self._answers: dict[str, Future] = {}
        self._listening = False
        self._alive: Any = None

    def __enter__(self) -> Page:
        """Load it: the page itself, its sign of life, and what the browser asks for at once."""
        begun = time.perf_counter()
        text = self.client.get("/").raise_for_status().text
        self.heard(Heard("open the page", True, begun, time.perf_counter() - begun, text))
        self._alive = self.client.stream("GET", f"gradio_api/heartbeat/{self.session}")
        self._alive.__enter__()
        for event in self.events.values():
            if any(kind == "load" for _, kind in event["targets"]):
                self._fire(event, None)
        self.settle()
        return self

    def __exit__(self, *raised: Any) -> None:
        """Leave: the server hears that the sign of life ends."""
        with suppress(httpx.HTTPError):
            self._alive.__exit__(*raised)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.client.close()

    @property
    def token(self) -> str:
        return str(self.props[self._keeper].get("value") or "")

    def value(self, name: str) -> Any:
        return self.props[self.ids[name]].get("value")

    def put(self, name: str, value: Any) -> None:
        """A visitor's own change of a field."""
        self.props[self.ids[name]]["value"] = value
        self.fire(name, "input")
        self.fire(name, "change")

    def fire(self, name: str, kind: str, data: Any = None) -> None:
        """An event of the component with this `elem_id`."""
        self._fire_at(self.ids[name], kind, data)

    def choose_tab(self, label: str) -> None:
        tab = next(n for n, kind in self.types.items() if kind == "tabitem" and self._label(n) == label)
        self._fire_at(tab, "select", {"value": label, "index": 0, "selected": True})

    def tick(self) -> None:
        """Every timer that is on, once."""
        for number, kind in self.types.items():
            if kind == "timer" and self.props[number].get("active"):
                self._fire_at(number, "tick", None)

    def settle(self, seconds: float = PATIENCE) -> bool:
        """Until nothing is under way; False where that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, seconds)

    def upload(self, path: Path) -> dict[str, Any]:
        """A file as a component's value."""
        with path.open("rb") as file:
            said = self.client.post("gradio_api/upload", files={"files": (path.name, file)})
        (place,) = said.raise_for_status().json()
        return {"path": place, "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}

    def file(self, name: str) -> bytes:
        """What is behind the link of a component with a file, once."""
        value = self.props[self.ids[name]]["value"]
        return self.client.get(f"gradio_api/file={value['path']}").raise_for_status().content

    def _label(self, number: int) -> str:
        return self.props[number].get("label", "")

    def _fire_at(self, number: int, kind: str, data: Any) -> None:
        for event in self.events.values():
            if [number, kind] in [list(target) for target in event["targets"]]:
                self._fire(event, data)

    def _fire(self, event: Config, data: Any) -> None:
        """Like a browser: once, the last of many, or all, by the event's own trigger mode."""
        number = event["id"]
        with self._changed:
            if number in self._open and event["trigger_mode"] == "once":
                return
            if number in self._open and event["trigger_mode"] == "always_last":
                self._again.add(number)
                return
            self._open[number] = self._open.get(number, 0) + 1
        with suppress(RuntimeError):  # the page was left
            self._pool.submit(self._carry_out, event, data)

    def _carry_out(self, event: Config, data: Any) -> None:
        try:
            succeeded = self._ask(event, data) if event["backend_fn"] else self._in_browser(event)
            for then in self._after.get(event["id"], ()):
                wanted = (then["trigger_only_on_success"], then["trigger_only_on_failure"])
                if wanted in ((False, False), (succeeded, not succeeded)):
                    self._fire(then, None)
        finally:
            with self._changed:
                again = event["id"] in self._again
                self._again.discard(event["id"])
                self._open[event["id"]] -= 1
                if not self._open[event["id"]]:
                    del self._open[event["id"]]
                self._changed.notify_all()
            if again:
                self._fire(event, data)

    def _in_browser(self, event: Config) -> bool:
        """What needs no server: a script that clicks, and the end of an event that waits."""
        for name in CLICKS.findall(str(event.get("js") or "")):
            self.fire(name, "click")
        for number in event["cancels"]:
            if number in self._asked:
                body = {"session_hash": self.session, "fn_index": number, "event_id": self._asked[number]}
                self.client.post("gradio_api/cancel", json=body)
        return True

    def _ask(self, event: Config, data: Any) -> bool:
        values = [
            None if self.types[each] == "state" else self.props[each].get("value") for each in event["inputs"]
        ]
        body = {"fn_index": event["id"], "data": values, "event_data": data, "session_hash": self.session}
        begun, error, text, output = time.perf_counter(), "", "", {}
        try:
            output, text = self._light(body) if event["queue"] is False else self._queued(event, body)
            error = str(output.get("error") or "") if "data" not in output else ""
        except Exception as failed:
            error = f"{type(failed).__name__}: {failed}"
        seconds = time.perf_counter() - begun
        self.heard(Heard(self._name(event), event["queue"] is False, begun, seconds, text, error))
        self._show(event, output.get("data") or [])
        return not error and "data" in output

    def _name(self, event: Config) -> str:
        number, kind = (event["targets"] or [[None, "then"]])[0]
        props = self.props.get(number, {})
        return f"{props.get('elem_id') or props.get('label') or 'page'} {kind}: {event['api_name']}"

    def _light(self, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
        said = self.client.post("gradio_api/run/predict", json=body)
        return said.json(), said.text

    def _queued(self, event: Config, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
        said = self.client.post("gradio_api/queue/join", json=body)
        if said.status_code != 200:
            raise ValueError(f"not queued: {said.status_code} {said.text[:200]}")
        ticket = self._asked[event["id"]] = said.json()["event_id"]
        try:
            return self._answer(ticket).result(PATIENCE)
        finally:
            self._asked.pop(event["id"], None)
            with self._lock:
                self._answers.pop(ticket, None)

    def _answer(self, ticket: str) -> Future:
        with self._lock:
            answer = self._answers.setdefault(ticket, Future())
            if not self._listening:
                self._listening = True
                Thread(target=self._listen, daemon=True).start()
            return answer

    def _listen(self) -> None:
        """One stream for all that the page waits for, as long as it waits."""
        while True:
            try:
                query = {"session_hash": self.session}
                with self.client.stream("GET", "gradio_api/queue/data", params=query) as stream:
                    for line in stream.iter_lines():
                        if line.startswith("data:"):
                            self._message(line[5:])
            except (httpx.HTTPError, RuntimeError):
                time.sleep(0.1)
            with self._lock:
                waiting = [answer for answer in self._answers.values() if not answer.done()]
                if not waiting or self.client.is_closed:
                    self._listening = False
                    return

    def _message(self, text: str) -> None:
        message = json.loads(text)
        if message["msg"] != "process_completed":
            return
        with self._lock:
            answer = self._answers.setdefault(message["event_id"], Future())
        if not answer.done():
            answer.set_result((message.get("output") or {}, text))

    def _show(self, event: Config, data: list[Any]) -> None:
        """What an answer changes, and the events of what it changed."""
        for number, shown in zip(event["outputs"], data, strict=False):
            before = self.props[number].get("value")
            if isinstance(shown, dict) and shown.get(UPDATE) == "update":
                self.props[number].update({name: value for name, value in shown.items() if name != UPDATE})
            elif self.types[number] != "state":
                self.props[number]["value"] = shown
            if self.props[number].get("value") != before:
                self._fire_at(number, "change", None)
