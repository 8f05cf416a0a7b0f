"""What the studio's process takes as visitors ask for ever more results, written to docs/memory.json.

    python -m tests.benchmarks.memory

Each limit in a process of its own, with the server's arenas: resident megabytes at the start, with the first
model and its answers in memory, and after every fourth of 24 different results of `demo-vit`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from .markdown import table

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "memory.json"
LIMITS_MB = (100_000, 1200)  # nothing is let go, and most is
RECIPES = ("minmax", "repq", "crl")
SEEDS = range(8)
EVERY = 4
PICTURES = 32  # to calibrate and held out


@dataclass(frozen=True)
class Measured:
    """`megabytes`: {results asked for: resident memory}; `kept`: how many are still in memory at the end."""

    limit_mb: int
    at_start: float
    warm: float
    megabytes: dict[int, float]
    kept: int


def measure(limit_mb: int) -> Measured:
    """In this process."""
    from ui.parts.memory import Memory, bound_arenas, resident_mb

    bound_arenas()
    from ui.parts.settings import RunSettings
    from ui.studio import build_studio
    from ui.workbench import Workbench

    bench = Workbench(Memory(limit_mb))
    build_studio(bench)
    at_start = resident_mb()
    few = {"calibration": PICTURES, "held_out": PICTURES}
    asked = [RunSettings("demo-vit", recipe, seed=seed, **few) for seed in SEEDS for recipe in RECIPES]
    bench.reference(asked[0])
    warm, found = resident_mb(), {}
    for number, settings in enumerate(asked, start=1):
        bench.quantize(settings)
        if number % EVERY == 0:
            found[number] = round(resident_mb())
    kept = sum(bench.outcome(settings) is not None for settings in asked)
    return Measured(limit_mb, round(at_start), round(warm), found, kept)


def main() -> None:
    found = []
    for limit_mb in LIMITS_MB:
        with tempfile.TemporaryDirectory() as home:
            environment = {**os.environ, "VITQ_HOME": home, "OMP_NUM_THREADS": "1"}
            command = [sys.executable, "-m", "tests.benchmarks.memory", str(limit_mb)]
            done = subprocess.run(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
        found.append(json.loads(done.stdout.splitlines()[-1]))
    results = {
        "model": "demo-vit",
        "pictures": PICTURES,
        "recipes": RECIPES,
        "seeds": list(SEEDS),
        "runs": found,
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(RESULTS.read_text())


def page(run: dict) -> str:
    """A row for each limit."""
    counts = list(run["runs"][0]["megabytes"])
    heads = ["limit, MB", "at start", "with the model", *(f"{count} results" for count in counts), "kept"]
    rows = []
    for limit in run["runs"]:
        cells = [limit[name] for name in ("limit_mb", "at_start", "warm")]
        cells += [*(limit["megabytes"][count] for count in counts), limit["kept"]]
        rows.append([f"{cell:,}" for cell in cells])
    return table(heads, rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(asdict(measure(int(sys.argv[1])))))
    else:
        main()
