"""Many visitors at once on a real server, written to docs/sessions.json.

    python -m tests.benchmarks.sessions --sessions 20 --seconds 300

Every session has its own page, token and marks: names of pictures and runs that nobody else may ever see.
Each does, in an order drawn from a seed, what visitors do. Printed: how long light actions took while a heavy
one ran, errors, marks in foreign answers, resident memory. The exit code is 1 where a limit is missed.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import secrets
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from threading import Event, Lock, Thread
from typing import Any

import httpx
from PIL import Image

from tests.server import ROOT, serving

from .http_page import PATIENCE, Heard, Page
from .markdown import table
from .provenance import commit_of, machine

RESULTS = ROOT / "docs" / "sessions.json"
LIGHT_SECONDS = 2.0  # the median of light actions while a heavy one runs
MEMORY_SHARE = 1.2  # of what was resident before, after everybody has left
GIVE_UP = 60.0  # seconds that a visitor waits for a run
ARRIVE = 10.0  # seconds within which all come
SETTLE = 20.0  # seconds after the last visitor has left
PUBLIC = {"SPACE_ID": "somebody/studio", "GRADIO_SERVER_NAME": "127.0.0.1"}
CALIBRATION, HELD_OUT = 8, 32  # pictures of a run
MODELS = ("demo-vit", "cifar10-vit")
RECIPES = ("minmax", "percentile", "repq", "crl", "adfq", "vitq")
BITS = (3, 4, 6, 8)
BUSY = ("vq-busy", "vq-stopping")
THINKS = (0.3, 2.0)  # seconds between two actions
MARK = "mark"


@dataclass
class Crowd:
    """What all sessions heard."""

    heavy: int = 0  # runs under way
    marks: dict[str, int] = field(default_factory=dict)  # {mark: the session that made it}
    seen: Counter = field(default_factory=Counter)  # {session: own marks in its answers}
    foreign: list[str] = field(default_factory=list)
    errors: Counter = field(default_factory=Counter)
    times: list[tuple[str, bool, bool, float]] = field(default_factory=list)  # (name, light, beside a run, s)
    done: Counter = field(default_factory=Counter)
    lock: Lock = field(default_factory=Lock)

    def mark(self, session: int) -> str:
        """A word that only this session may see again."""
        made = f"{MARK}{secrets.token_hex(6)}"
        with self.lock:
            self.marks[made] = session
        return made

    def hear(self, session: int, heard: Heard) -> None:
        with self.lock:
            if heard.error:
                self.errors[f"{heard.name}: {heard.error[:200]}"] += 1
            self.times.append((heard.name, heard.light, self.heavy > 0, heard.seconds))
            self._look_for_marks(session, heard.name, heard.text)

    def read(self, session: int, name: str, text: str) -> None:
        """A file that a session was given."""
        with self.lock:
            self._look_for_marks(session, name, text)

    def _look_for_marks(self, session: int, name: str, text: str) -> None:
        for mark in (mark for mark in self.marks if mark in text) if MARK in text else ():
            if self.marks[mark] == session:
                self.seen[session] += 1
            else:
                self.foreign.append(f"session {session} saw {mark} of {self.marks[mark]} in {name}")

    @contextmanager
    def running(self) -> Iterator[None]:
        with self.lock:
            self.heavy += 1
        try:
            yield
        finally:
            with self.lock:
                self.heavy -= 1


class Visitor:
    """One session's mixture of actions, from a seed."""

    def __init__(self, number: int, url: str, config: Mapping[str, Any], crowd: Crowd, folder: Path) -> None:
        self.number, self.url, self.config, self.crowd, self.folder = number, url, config, crowd, folder
        self.rng, self.token = random.Random(number), ""
        self.page: Page | None = None

    def stay(self, until: float) -> None:
        """Come, act and think until it is time to leave, with a reload now and then."""
        time.sleep(self.rng.uniform(0, ARRIVE))
        while time.monotonic() < until:
            heard = lambda heard: self.crowd.hear(self.number, heard)  # noqa: E731
            with Page(self.url, self.config, heard, self.token) as self.page:
                for _ in range(self.rng.randint(6, 14)):
                    if time.monotonic() >= until:
                        break
                    self.act(self.rng.choice(ACTIONS))
                    time.sleep(self.rng.uniform(*THINKS))
                self.token = self.page.token
                self.page.settle()

    def act(self, action: Callable[[Visitor], None]) -> None:
        try:
            action(self)
        except Exception as error:
            with self.crowd.lock:
                self.crowd.errors[f"{action.__name__}: {type(error).__name__}: {str(error)[:200]}"] += 1
        with self.crowd.lock:
            self.crowd.done[action.__name__] += 1

    def everything(self) -> None:
        """Each action once, for a server that has its models in memory before anybody is counted."""
        with Page(self.url, self.config, lambda heard: self.crowd.hear(self.number, heard)) as self.page:
            for action in dict.fromkeys(ACTIONS):
                self.act(action)
            self.page.settle()

    def look(self) -> None:
        self._light("gallery", "select", {"index": self.rng.randrange(8), "value": None})

    def change(self) -> None:
        name, values = self.rng.choice((("recipe", RECIPES), ("weight-bits", BITS), ("act-bits", BITS)))
        self.page.put(name, self.rng.choice(values))
        self.page.settle()

    def quantize(self) -> None:
        """A run, waited for while looking around; one in four is cancelled early, a long one in the end."""
        chosen = {
            "calibration": CALIBRATION, "held-out": HELD_OUT, "seed": self.rng.randrange(3),
            "recipe": self.rng.choice(RECIPES), "weight-bits": self.rng.choice(BITS),
            "act-bits": self.rng.choice(BITS),
        }  # fmt: skip
        for name, value in chosen.items():
            self.page.put(name, value)
        self.page.settle()
        ends = self.rng.uniform(1, 10) if self.rng.random() < 0.25 else GIVE_UP
        self._run("quantize", "cancel", "status", ends)

    def _run(self, start: str, stop: str, status: str, ends: float) -> None:
        begun = time.monotonic()
        with self.crowd.running():
            self.page.fire(start, "click")
            time.sleep(0.5)
            while any(word in str(self.page.value(status)) for word in BUSY):
                if time.monotonic() - begun > ends:
                    self.page.fire(stop, "click")
                    ends = PATIENCE
                if time.monotonic() - begun > PATIENCE:
                    raise TimeoutError(f"{start} took more than {PATIENCE:g} s")
                self.page.tick()
                self.rng.choice((Visitor.look, lambda self: None))(self)
                time.sleep(0.7)
        if "vq-error" in str(self.page.value(status)):
            raise ValueError(f"{start} ended with {self.page.value(status)}")

    def upload(self) -> None:
        """A picture with a name of one's own, tried with the result on the page."""
        path = self.folder / f"{self.crowd.mark(self.number)}.png"
        Image.effect_noise((96, 96), 60).convert("RGB").save(path)
        self.page.props[self.page.ids["picture"]]["value"] = self.page.upload(path)
        self.page.fire("picture", "upload")
        self._settled_beside_others()

    def activations(self) -> None:
        """The page of activations: a model, a layer, and its slider."""
        self.page.choose_tab("Activations")
        self.page.settle()
        self.page.put("model", self.rng.choice(MODELS))
        self.page.settle()
        sites = [value for _, value in self.page.props[self.page.ids["look-site"]].get("choices") or ()]
        if sites:
            self.page.put("look-site", self.rng.choice(sites))
            self.page.settle()
        self.page.put("look-alpha", round(self.rng.uniform(1, 10), 2))
        self.page.settle()

    def relevance(self) -> None:
        """Where the models look, in a picture of the gallery."""
        self.page.choose_tab("Relevance & bits")
        self.page.settle()
        click = {"index": self.rng.randrange(8), "value": None}
        self.page.fire("relevance-gallery", "select", click)
        self._settled_beside_others()

    def score(self) -> None:
        self._run("score", "score-cancel", "score-status", self.rng.choice((GIVE_UP, 2.0)))

    def segment(self) -> None:
        """Clicks on a picture."""
        self.page.choose_tab("Segment")
        self.page.settle()
        self.page.fire("segment-gallery", "select", {"index": self.rng.randrange(8), "value": None})
        self.page.settle()
        for _ in range(2):
            canvas = self.page.value("segment-canvas")
            place = [self.rng.random(), self.rng.random()]
            click = {"key": canvas["key"], "kind": "point", "place": place, "positive": True}
            self.page.fire("segment-canvas", "select", click)
            self.page.settle()

    def runs(self) -> None:
        """One's own runs: the list, a name of one's own for one of them, and all as a table."""
        self.page.choose_tab("Trade-offs")
        self.page.settle()
        rows = (self.page.value("tradeoffs-table") or {}).get("data") or []
        if rows:
            row = self.rng.choice(rows)
            self._light("tradeoffs-table", "select", {"index": [0, 0], "value": row[0], "row_value": row})
            self.page.props[self.page.ids["tradeoffs-name"]]["value"] = self.crowd.mark(self.number)
            self._light("tradeoffs-rename", "click")
        self._light("tradeoffs-csv", "click")
        content = self.page.file("tradeoffs-csv-file")
        self.crowd.read(self.number, "runs.csv", content.decode())

    def sweep(self) -> None:
        """Runs that belong to the server; one sweep in two is stopped."""
        self.page.choose_tab("Trade-offs")
        self.page.settle()
        self.page.put("held-out", HELD_OUT)
        self._light("tradeoffs-bits-sweep", "click")
        for _ in range(self.rng.randint(1, 8)):
            time.sleep(2.0)
            self.page.tick()
        if self.rng.random() < 0.5:
            self._light("tradeoffs-stop", "click")

    def download(self) -> None:
        """The quantized model on the page, as a file."""
        self._light("download", "click")
        with zipfile.ZipFile(io.BytesIO(self.page.file("download-file"))) as file:
            if file.testzip() is not None or not file.namelist():
                raise ValueError("a download is damaged")

    def _light(self, name: str, kind: str, data: Any = None) -> None:
        self.page.fire(name, kind, data)
        self.page.settle()

    def _settled_beside_others(self) -> None:
        with self.crowd.running():
            if not self.page.settle():
                raise TimeoutError(f"no answer within {PATIENCE:g} s")


# How often each is chosen beside the others.
ACTIONS = (
    *[Visitor.look] * 5, *[Visitor.change] * 4, *[Visitor.quantize] * 3,
    *[Visitor.upload] * 2, *[Visitor.activations] * 2, Visitor.relevance, Visitor.score, Visitor.sweep,
    *[Visitor.segment] * 2, *[Visitor.runs] * 3, Visitor.download,
)  # fmt: skip


class Watch:
    """Resident megabytes of a process, every half second."""

    def __init__(self, process: int) -> None:
        self.process, self.peak, self._ends = process, 0.0, Event()
        self._thread = Thread(target=self._look, daemon=True)

    def now(self) -> float:
        text = Path(f"/proc/{self.process}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) / 1024

    def cpu_seconds(self) -> float:
        """What it has computed so far: others may use this machine too."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._ends.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ends.wait(0.5):
            self.peak = max(self.peak, self.now())


def measure(sessions: int, seconds: float, folder: Path) -> dict[str, Any]:
    """A server of its own, warmed by one visitor, then everybody, then nobody."""
    log = folder / "log"
    with serving(["app.py"], folder / "home", log, PUBLIC) as server:
        config = httpx.get(f"{server.url}config", timeout=PATIENCE).json()
        with Watch(server.process.pid) as watch:
            Visitor(-1, server.url, config, Crowd(), folder).everything()
            time.sleep(SETTLE)
            before, crowd, begun = watch.now(), Crowd(), time.monotonic()
            watch.peak, used = before, watch.cpu_seconds()
            everybody(sessions, seconds, server.url, config, crowd, folder)
            cores = (watch.cpu_seconds() - used) / (time.monotonic() - begun)
            time.sleep(SETTLE)
            after, peak = watch.now(), watch.peak
    memory = {"before": round(before), "peak": round(peak), "after": round(after)}
    return {**summary(crowd, log.read_text(errors="replace")), "memory_mb": memory, "cores": round(cores, 2)}


def everybody(sessions: int, seconds: float, url: str, config: Any, crowd: Crowd, folder: Path) -> None:
    until = time.monotonic() + seconds
    visitors = [Visitor(number, url, config, crowd, folder) for number in range(sessions)]
    threads = [Thread(target=each.stay, args=(until,), daemon=True) for each in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0) + 2 * PATIENCE)
        if thread.is_alive():
            crowd.errors["a session never ended"] += 1


def summary(crowd: Crowd, log: str) -> dict[str, Any]:
    beside = [each for each in crowd.times if each[2]]
    light = [seconds for _, light, _, seconds in beside if light]
    tracebacks = log.count("Traceback (most recent call last)")
    marked = set(crowd.marks.values())
    return {
        "actions": dict(crowd.done.most_common()), "answers": len(crowd.times),
        "light": spread([s for _, light, beside, s in crowd.times if light and not beside]),
        "light_beside_heavy": spread(light), "slowest": slowest(beside),
        "queued_beside_heavy": spread([seconds for _, light, _, seconds in beside if not light]),
        "errors": dict(crowd.errors.most_common()), "tracebacks": tracebacks,
        "foreign": crowd.foreign[:20], "marks": len(crowd.marks),
        "blind": sorted(marked - crowd.seen.keys()),
    }  # fmt: skip


def spread(seconds: list[float]) -> dict[str, float]:
    """How many, their median, the slowest twentieth's beginning, and the slowest."""
    if len(seconds) < 2:
        return {"count": len(seconds)}
    found = {"median": median(seconds), "p95": quantiles(seconds, n=20)[-1], "most": max(seconds)}
    return {"count": len(seconds), **{name: round(value, 3) for name, value in found.items()}}


def slowest(times: list[tuple[str, bool, bool, float]], most: int = 12) -> dict[str, dict[str, float]]:
    """The light handlers with the largest medians."""
    names = {name for name, light, _, _ in times if light}
    found = {name: spread([s for each, _, _, s in times if each == name]) for name in names}
    ranked = sorted(found, key=lambda name: -found[name].get("median", 0.0))
    return {name: found[name] for name in ranked[:most]}


def missed(found: Mapping[str, Any]) -> list[str]:
    """The limits that were not kept, each a sentence."""
    memory, light = found["memory_mb"], found["light_beside_heavy"]
    checks = {
        "there were errors": found["errors"] or found["tracebacks"],
        "somebody saw another's data": found["foreign"],
        "somebody never saw their own marks": found["blind"],
        f"light actions took more than {LIGHT_SECONDS:g} s": light.get("median", 0.0) > LIGHT_SECONDS,
        "no light action was beside a heavy one": not light["count"],
        "memory was not given back": memory["after"] > MEMORY_SHARE * memory["before"],
    }
    return [said for said, wrong in checks.items() if wrong]


def page(found: Mapping[str, Any]) -> str:
    """A row for each kind of answer, then the rest in sentences."""
    kinds = {
        "light, no run": "light", "light, beside a run": "light_beside_heavy",
        "queued, beside a run": "queued_beside_heavy",
    }  # fmt: skip
    rows = [
        [title, *(f"{found[name].get(key, '–')}" for key in ("count", "median", "p95", "most"))]
        for title, name in kinds.items()
    ]
    heads = ["answers", "count", "median, s", "95 % within, s", "slowest, s"]
    return f"{table(heads, rows)}\n\n{sentences(found)}"


def sentences(found: Mapping[str, Any]) -> str:
    memory, seen = found["memory_mb"], len(found["foreign"])
    return (
        f"{found['sessions']} sessions for {found['seconds']:g} s, on {found['cores']:g} cores: others had "
        f"the rest. Resident: {memory['before']:,} MB before, {memory['peak']:,} at most, "
        f"{memory['after']:,} after all had left. Of {found['marks']} marks {seen} were seen by others. "
        f"{sum(found['errors'].values())} errors, {found['tracebacks']} tracebacks."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.sessions, options.seconds, Path(folder))
    where = {"machine": machine(), "commit": commit_of(ROOT), "load": os.getloadavg()[0]}
    asked = {"sessions": options.sessions, "seconds": options.seconds}
    found = {**where, **asked, **found}
    options.results.write_text(json.dumps(found, indent=1) + "\n")
    print(page(found))
    print(*(f"{count} × {said}" for said, count in found["errors"].items()), sep="\n")
    wrong = missed(found)
    print(*wrong or ["every limit is kept"], sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
