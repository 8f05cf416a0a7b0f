"""Malformed requests to a running studio, over HTTP: each must end in a sentence, and the server must go on.

    python -m tests.benchmarks.malformed --requests 2000

Every handler of the page is asked, public or not, with values of wrong types, numbers that are none, deep
JSON, paths, markup, forged indexes. Printed: how many were answered how, and each fault: a traceback of ours
in the log, a path of the server in an answer, markup that would run, an error without a sentence, no answer.
The exit code is 1 where there is a fault.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests import nasty
from tests.server import ROOT, serving

PATIENCE = 300.0  # seconds for an answer: other requests may be before it
AT_ONCE = 4
MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"
PASSWORDS = "/etc/passwd"
DEEP = 200  # lists in lists
RUN_AS_MARKUP = ("html", "markdown", "plot")  # components whose values a browser reads as markup
FEW = {"calibration": 2, "held-out": 2, "scored": 2}  # runs that come to be stay short


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


# What JSON can carry, by what is wrong with it. Infinities and NaN as Python's own JSON writes them.
WRONG: dict[str, Any] = {
    **nasty.SENT,
    "deep lists": deep(DEEP),
    "deep dicts": {"a": {"b": {"c": {"d": [{}, {"e": None}]}}}},
    "markup": MARKUP,
    "a path": PASSWORDS,
    "a way up": "../../../../etc/passwd",
    "a file that is none": {"path": PASSWORDS, "meta": {"_type": "gradio.FileData"}},
    "a file that is missing": {"path": "/nowhere/a.png", "meta": {"_type": "gradio.FileData"}},
    "an address": {"url": "http://127.0.0.1:9/a.png", "path": None},
    "a truth value": True,
    "nothing": None,
    "much text": "x" * 100_000,
}
EVENTS: list[Any] = [None, {"index": 10**6}, {"index": [0, -1]}, {"index": "0"}, {"value": MARKUP}, [], "x"]


@dataclass(frozen=True)
class Handler:
    """One of the page's: what it is given when nobody has touched anything."""

    number: int
    name: str
    defaults: list[Any]
    shows: list[str]  # the kinds of its outputs
    direct: bool  # without a place in the queue


@dataclass(frozen=True)
class Answer:
    handler: Handler
    wrong: str
    status: int
    text: str

    @property
    def data(self) -> list[Any]:
        """What the page is told to show; empty for an error."""
        return (self._content.get("output") or self._content).get("data") or []

    @property
    def error(self) -> str:
        """Its sentence; empty where there is none."""
        found = self._content.get("output") or self._content
        return str(found.get("error") or found.get("detail") or "")

    @property
    def _content(self) -> dict[str, Any]:
        try:
            found = json.loads(self.text.removeprefix("data:"))
        except json.JSONDecodeError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def failed(self) -> bool:
        return self.status >= 400 or self._content.get("success") is False

    @property
    def kind(self) -> str:
        return "refused" if self.failed else "answered"


def handlers(config: dict[str, Any]) -> list[Handler]:
    components = {part["id"]: part for part in config["components"]}

    def default(number: int) -> Any:
        props = components[number]["props"]
        return FEW.get(props.get("elem_id"), props.get("value"))

    return [
        Handler(
            number,
            str(dependency.get("api_name") or dependency.get("targets")),
            [default(each) for each in dependency["inputs"]],
            [components[each]["type"] for each in dependency["outputs"]],
            dependency.get("queue") is False,
        )
        for number, dependency in enumerate(config["dependencies"])
        if dependency.get("backend_fn", True)
    ]


def requests(found: list[Handler], count: int, seed: int) -> Iterator[tuple[Handler, str, dict]]:
    """(handler, what is wrong, body): every handler in turn, one or more of its inputs wrong."""
    rng, names = random.Random(seed), [*WRONG]
    for number in range(count):
        handler = found[number % len(found)]
        data, said = [*handler.defaults], []
        for place in rng.sample(range(len(data)), min(len(data), rng.choice((1, 1, 2, 5)))):
            wrong = rng.choice(names)
            data[place] = WRONG[wrong]
            said.append(f"{place}: {wrong}")
        if rng.random() < 0.1:
            data, said = rng.choice(([], data * 2, [data], None)), ["another number of inputs"]
        event = rng.choice(EVENTS)
        body = {"fn_index": handler.number, "data": data, "event_data": event}
        yield handler, ", ".join(said), body


def ask(client: httpx.Client, handler: Handler, wrong: str, body: dict, session: str) -> Answer:
    # Not httpx's own JSON, which refuses NaN.
    content = json.dumps({**body, "session_hash": session})
    headers = {"content-type": "application/json"}
    if handler.direct:
        said = client.post("gradio_api/run/predict", content=content, headers=headers)
        return Answer(handler, wrong, said.status_code, said.text)
    joined = client.post("gradio_api/queue/join", content=content, headers=headers)
    if joined.status_code != 200:
        return Answer(handler, wrong, joined.status_code, joined.text)
    text = ""
    with client.stream("GET", "gradio_api/queue/data", params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                message = json.loads(line[5:])
                if message["msg"] in ("process_completed", "unexpected_error", "close_stream"):
                    text = line
                    break
    return Answer(handler, wrong, 200, text)


def faults(answer: Answer) -> Iterator[str]:
    """What is wrong with an answer, not with what was asked."""
    if answer.failed and not answer.error:
        yield f"an error without a sentence, status {answer.status}: {answer.text[:200]}"
    if not answer.text:
        yield "no answer"
    if "Traceback (most recent" in answer.text:
        yield "a traceback in the answer"
    if str(ROOT) in answer.text or "/site-packages/" in answer.text:
        yield "a path of the server in the answer"
    for kind, shown in zip(answer.handler.shows, answer.data, strict=False):
        if kind in RUN_AS_MARKUP and MARKUP in json.dumps(shown):
            yield f"markup of the request in a {kind}, unescaped"


def in_log(text: str) -> list[str]:
    """Tracebacks that pass through our own code, each once: where it ended and how."""
    found: Counter[str] = Counter()
    for part in text.split("Traceback (most recent call last)")[1:]:
        ours = re.findall(rf'File "{re.escape(str(ROOT))}/(?!\.venv)([^"]+)", line (\d+)', part)
        error = re.search(r"^(\w[\w.]*(?:Error|Exception|Interrupt)\b.*)$", part, re.MULTILINE)
        if ours:
            found[f"{ours[-1][0]}:{ours[-1][1]} {error[1][:160] if error else ''}"] += 1
    return [f"{count} × {place}" for place, count in found.most_common()]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with serving(["app.py"], Path(folder) / "home", log) as server:
            url = server.url
            found = sent(url, options.requests, options.seed)
            alive = httpx.get(url).status_code == 200
        tracebacks = in_log(log.read_text(errors="replace"))
    print(
        *(f"{count:6,} {kind}" for kind, count in Counter(each.kind for each in found).most_common()),
        sep="\n",
    )
    wrong = Counter(
        f"{fault} · {each.handler.name[:80]} · {each.wrong}" for each in found for fault in faults(each)
    )
    for fault, count in wrong.most_common():
        print(f"{count} × {fault}")
    print(*(f"in the log: {each}" for each in tracebacks), sep="\n")
    print("the server goes on" if alive else "the server has died")
    sys.exit(bool(wrong or tracebacks or not alive))


def sent(url: str, count: int, seed: int) -> list[Answer]:
    with httpx.Client(base_url=url, timeout=PATIENCE) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        known = handlers(client.get("config").json())
        wanted = [*enumerate(requests(known, count, seed))]
        return [*pool.map(lambda each: ask(client, *each[1], session=f"malformed{each[0]}"), wanted)]


if __name__ == "__main__":
    main()
