"""What many processes cost, written to docs/processes.json: measured with one and two processes on this
machine, calculated from that for 50,000 and 1,280,000 pictures and up to 64 processes.

    python -m tests.benchmarks.processes

Both numbers of processes are measured in turn in the same two processes: first only one of them works, then
both. A process has one thread. Weights are random where there are none here; time does not depend on them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

from .markdown import table
from .provenance import commit_of, machine

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "processes.json"
MODELS = {"demo-vit": (256, 64), "deit-small": (16, 8)}  # pictures evaluated and scored in each round
ROUNDS = 3
BATCH = 8
PICTURES, WORKERS = (50_000, 1_280_000), (1, 8, 64)
A_NODE = 16  # processes, where node hours are calculated
WORKS = {"evaluate": "evaluation", "importance": "importance"}
STARTED = "VITQ_STARTED"  # when the process was started, in seconds since 1970


def main() -> None:
    found = {
        "machine": machine(), "commit": commit_of(ROOT), "load": os.getloadavg()[0],
        "models": {name: _measured(name) for name in MODELS},
    }  # fmt: skip
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(page(found))


def _measured(name: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", STARTED: str(time.time())}
    done = subprocess.run(
        [*command, "-m", "tests.benchmarks.processes", name], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def worker(name: str) -> None:
    """One of the two; the first prints what was found."""
    import torch

    import vitq_core as vq
    from vitq_core.common.processes import ALONE, Group, joined

    imported = time.time()
    torch.set_num_threads(1)
    model = vq.load_model(name) if name == "demo-vit" else _random(name)
    side = min(model.preprocessing.size)
    counts = dict(zip(WORKS, MODELS[name], strict=True))
    images = torch.randn(max(counts.values()), 3, side, side, generator=torch.Generator().manual_seed(0))
    sums = {}

    def evaluate(group: Group) -> None:
        vq.evaluate(model, _Loader(images[: counts["evaluate"]]), processes=group)

    def score(group: Group) -> None:
        scores = vq.importance(model, images[: counts["importance"]], batch_size=BATCH, processes=group)
        sums["importance"] = scores

    works = {"evaluate": evaluate, "importance": score}
    before = time.time()
    with joined() as group:
        seconds = {
            "start": imported - float(os.environ[STARTED]),
            "join": time.time() - before,
        }
        rounds = {work: {"1": [], "2": []} for work in works}
        for work, do in works.items():
            do(ALONE)  # a first time, which is longer
            for _ in range(ROUNDS):
                group.together("", lambda texts: "")
                alone = _seconds(lambda do=do: do(ALONE)) if group.first else 0.0
                group.together("", lambda texts: "")
                both = _seconds(lambda do=do: do(group))
                rounds[work]["1"].append(alone / counts[work])
                rounds[work]["2"].append(both / counts[work])
        seconds["together"] = median(_seconds(lambda: _round(group, sums["importance"])) for _ in range(9))
        if group.first:
            print(json.dumps({**seconds, "merge": _merge(sums["importance"]), "rounds": rounds, **counts}))


class _Loader:
    """A tensor in batches that workers can cut."""

    batch_size = BATCH

    def __init__(self, images: Any) -> None:
        self.images, self.count = images, len(images)

    def part(self, start: int, stop: int) -> Any:
        return iter(self.images[start:stop].split(BATCH))

    def __iter__(self) -> Any:
        return self.part(0, self.count)


def _random(name: str) -> Any:
    import timm
    import torch

    import vitq_core as vq

    torch.manual_seed(0)
    return vq.wrap_model(timm.create_model(f"{name.replace('-', '_')}_patch16_224", pretrained=False).eval())


def _seconds(do: Callable[[], object]) -> float:
    begin = time.perf_counter()
    do()
    return time.perf_counter() - begin


def _round(group: Any, scores: Any) -> None:
    """What an importance of this size sends."""
    group.together(json.dumps(_state(scores)), lambda texts: texts[0])


def _state(scores: Any) -> dict[str, list[float]]:
    names = {**scores.layer_scores, **scores.attention_scores}
    return {name: [1000, value, value] for name, value in names.items()}


def _merge(scores: Any) -> float:
    """Seconds to read and add what one worker sends."""
    from vitq_core.scoring.scores import Tally

    text, tally = json.dumps(_state(scores)), Tally(_state(scores))
    return median(_seconds(lambda: tally.merge(Tally(json.loads(text)))) for _ in range(99))


def calculated(parts: Mapping[str, Any], work: str, pictures: int, workers: int) -> float:
    """Hours until all is there: start, joining, each worker's share, and every worker's sums added.

    Of several workers the seconds a picture are those of two on this machine, so that what they take from
    each other counts.
    """
    rounds = parts["rounds"][work]
    one, two = median(rounds["1"]), 2 * median(rounds["2"])
    each = one if workers == 1 else max(one, two)
    joining = 0.0 if workers == 1 else parts["join"] + workers * (parts["merge"] + parts["together"] / 2)
    return (parts["start"] + joining + ceil(pictures / workers) * each) / 3600


def page(found: Mapping[str, Any]) -> str:
    return "\n\n".join((_parts(found), _costs(found), _where(found)))


def _parts(found: Mapping[str, Any]) -> str:
    rows = []
    for name, parts in found["models"].items():
        for work, title in WORKS.items():
            one, two = (median(parts["rounds"][work][number]) for number in ("1", "2"))
            ratios = [a / b for a, b in zip(*(parts["rounds"][work][n] for n in ("1", "2")), strict=True)]
            rows.append(
                [name, title, f"{parts[work]}", f"{1e3 * one:.1f} ms", f"{1e3 * two:.1f} ms",
                 f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"]
            )  # fmt: skip
    head = ["model", "", "pictures a round", "a picture, one process", "two processes", "times as fast"]
    return table(head, rows)


def _costs(found: Mapping[str, Any]) -> str:
    rows = []
    for name, parts in found["models"].items():
        for work, title in WORKS.items():
            for pictures in PICTURES:
                cells = []
                for workers in WORKERS:
                    hours = calculated(parts, work, pictures, workers)
                    cells.append(f"{_hours(hours)} ({_hours(hours * ceil(workers / A_NODE))})")
                rows.append([name, title, f"{pictures:,}", *cells])
    return table(["model", "", "pictures", *(f"{n} process{'es' if n > 1 else ''}" for n in WORKERS)], rows)


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 10 else f"{hours:.2f} h"


def _where(found: Mapping[str, Any]) -> str:
    parts = found["models"].values()
    spans = {
        name: f"{min(p[name] for p in parts):.3g} to {max(p[name] for p in parts):.3g}"
        for name in ("start", "join", "together")
    }
    merge = 1e3 * max(p["merge"] for p in parts)
    return (
        f"A process starts in {spans['start']} s and joins another in {spans['join']} s; two put their sums "
        f"together in {spans['together']} s, of which adding takes {merge:.2f} ms at most. Medians of "
        f"{ROUNDS} rounds. {found['machine']}; its load was {found['load']:.1f} before, by other work, so "
        "that only ratios of the same round count, and hours are those of this machine as busy as it was. "
        f"Hours are calculated, until the result is there; in brackets of nodes, {A_NODE} processes a node. "
        f"Commit {found['commit']}."
    )


if __name__ == "__main__":
    worker(sys.argv[1]) if len(sys.argv) > 1 else main()
