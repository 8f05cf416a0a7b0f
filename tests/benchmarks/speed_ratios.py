"""Is this checkout as fast as another one? Ratios of times, above 1 where this one is slower.

    python -m tests.benchmarks.speed_ratios --against ../other --out docs/speed.json

Every measurement is a process of its own in one of the two checkouts, through public names alone; they take
turns, because machines are shared and noisy. A process warms up where that is not what is measured, and gives
the median of its repeats; a ratio is that of two processes in a row.

Some measurements are themselves ratios: what something costs on a DeiT-Small shape, in passes of the float
model in the same process, in turns. timm fuses the float model's attention, which cannot be quantized, so
each is given against the float model with fused attention and without.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

ROOT = Path(__file__).parents[2]
REPEATS = 3  # in one process
SEED = 1  # of the pictures
FEW, MANY = 4, 24  # iterations: their difference leaves out what a run costs beside its iterations
Measure = Callable[[], float]  # seconds; for the titles in RATIOS, times what the float model takes
MEASURES: dict[str, Measure] = {}
VITQ_IN_FORWARDS = "DeiT-S: calibrate vitq, bits included / forward"
RATIOS = {VITQ_IN_FORWARDS}


def measure(title: str) -> Callable[[Measure], Measure]:
    def register(function: Measure) -> Measure:
        MEASURES[title] = function
        return function

    return register


def ratio(title: str) -> Callable[[Callable[[bool], float]], Callable[[bool], float]]:
    """Registers a function of whether the float model's attention is fused, for both."""

    def register(function: Callable[[bool], float]) -> Callable[[bool], float]:
        for name, fused in ((title, True), (f"{title}, unfused", False)):
            measure(name)(partial(function, fused))
            RATIOS.add(name)
        return function

    return register


def main() -> None:
    arguments = parse()
    if arguments.measure:
        print(json.dumps(MEASURES[arguments.measure]()))
        return
    about = about_run(arguments)
    found: dict[str, dict] = {}
    print(f"{'':<43} this  other  ratio  (lowest to highest of {arguments.rounds})", flush=True)
    for title in arguments.only or MEASURES:
        found[title] = compare(title, arguments.against, arguments.rounds, arguments.threads)
        print(row(title, found[title]), flush=True)
        if arguments.out:
            arguments.out.write_text(json.dumps({"about": about, "measured": found}, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of processes for each measurement")
    parser.add_argument("--threads", type=int, default=1, help="of each process; default: 1")
    parser.add_argument("--only", nargs="+", choices=list(MEASURES), help="some measurements; default: all")
    parser.add_argument("--out", type=Path, help="JSON with every time, and where it comes from")
    parser.add_argument("--measure", choices=list(MEASURES), help=argparse.SUPPRESS)  # what a process is told
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {arguments.rounds}")
    if arguments.threads < 1:
        parser.error(f"--threads must be at least 1, got {arguments.threads}")
    if not arguments.measure and not (arguments.against and (arguments.against / "vitq_core").is_dir()):
        parser.error(
            f"--against must name another checkout, one that holds vitq_core, got {arguments.against}"
        )
    return arguments


def about_run(arguments: argparse.Namespace) -> dict[str, object]:
    """What the times need to be read: both commits, the machine, how often, the pictures' seed."""
    from tests.benchmarks.provenance import commit_of, machine  # not above: a process starts with this file

    return {
        "commit": commit_of(ROOT),
        "against": commit_of(arguments.against),
        "machine": machine(),
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "seed": SEED,
    }


def compare(title: str, other: Path, rounds: int, threads: int) -> dict[str, list[float]]:
    """Seconds of ``this`` checkout and the ``other``, in turns, and their ``ratios``."""
    pairs = [(in_process(title, ROOT, threads), in_process(title, other, threads)) for _ in range(rounds)]
    this, that = (list(times) for times in zip(*pairs, strict=True))
    return {"this": this, "other": that, "ratios": [a / b for a, b in pairs]}


def in_process(title: str, checkout: Path, threads: int) -> float:
    """Seconds that a fresh process in ``checkout`` measured; SystemExit with what it said where it failed."""
    checkout = checkout.resolve()
    with tempfile.TemporaryDirectory() as home:
        own = {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(threads), "VITQ_HOME": home}
        command = [sys.executable, str(Path(__file__).resolve()), "--measure", title]
        done = subprocess.run(
            command, cwd=checkout, env={**os.environ, **own}, capture_output=True, text=True
        )
    if done.returncode:
        sys.exit(f"{title} in {checkout}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def row(title: str, found: dict[str, list[float]]) -> str:
    this, other = (spoken(title, median(found[name])) for name in ("this", "other"))
    ratios = found["ratios"]
    return f"{title:<40} {this:>8} {other:>7}  {median(ratios):.3f}  ({min(ratios):.3f} to {max(ratios):.3f})"


def spoken(title: str, value: float) -> str:
    if title in RATIOS:
        return f"{value:.2f} x"
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.0f} ms"


def page(run: dict) -> str:
    """A row for every measurement."""
    from .markdown import table  # not above: a process starts with this file

    about = run["about"]
    rows = [[title, *_times(title, found)] for title, found in run["measured"].items()]
    shown = table(["what", "now", "before", "ratio"], rows)
    return (
        f"{shown}\n\nCommit {about['commit']} against {about['against']}, {about['rounds']} pairs of "
        f"processes, threads: {about['threads']}, pictures of seed {about['seed']}. {about['machine']}."
    )


def _times(title: str, found: dict[str, list[float]]) -> list[str]:
    now, before = (spoken(title, median(found[name])) for name in ("this", "other"))
    ratios = found["ratios"]
    return [now, before, f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"]


# -- what a process measures ----------------------------------------------------------------------------


def took(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def repeated(run: Callable[[], object]) -> float:
    run()
    return median(took(run) for _ in range(REPEATS))


def in_turns(run: Callable[[], object], yardstick: Callable[[], object], repeats: int = REPEATS) -> float:
    """How many times longer ``run`` takes: the median of pairs in a row. One that is not repeated is long
    enough to need no warm-up."""
    yardstick()
    if repeats > 1:
        run()
    return median(took(run) / took(yardstick) for _ in range(repeats))


def pictures(count: int, size: int = 64) -> Tensor:
    import torch  # not above: a start is measured with its imports

    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(SEED))


def deit_small(fused: bool = True) -> nn.Module:
    """Random weights; ``fused``: whether its attention is one operation."""
    import timm
    import torch

    torch.manual_seed(SEED)
    model = timm.create_model("deit_small_patch16_224").eval()
    for block in model.blocks:
        block.attn.fused_attn = fused
    return model


def small_vit() -> nn.Module:
    """Of demo-vit's shape with random weights: the bundled weights of two checkouts may differ."""
    import timm
    import torch

    torch.manual_seed(SEED)
    shape = {"img_size": 64, "patch_size": 8, "embed_dim": 192, "depth": 8, "num_heads": 3, "num_classes": 10}
    return timm.create_model("vit_tiny_patch16_224", **shape).eval()


def quantizing(recipe: str, **options: object) -> Callable[[], object]:
    """A run on a small ViT with 32 pictures."""
    import vitq_core as vq

    model, images, chosen = small_vit(), pictures(32), vq.recipe(recipe, 4, 4, **options)
    return lambda: vq.quantize(model, images, chosen)


@measure("calibrate adfq")
def calibrate_adfq() -> float:
    return repeated(quantizing("adfq", effort="none"))


@measure("calibrate vitq, bits included")
def calibrate_vitq() -> float:
    return repeated(quantizing("vitq", effort="none"))


@measure("simulated forward, 64 pictures")
def forward() -> float:
    import torch

    model, images = quantizing("vitq", effort="none")().model, pictures(64)
    with torch.inference_mode():
        return repeated(lambda: model(images))


@measure("relevance, 16 pictures")
def relevance() -> float:
    import vitq_core as vq

    model, images = small_vit(), pictures(16)
    return repeated(lambda: vq.relevance(model, images))


@measure("an iteration of adfq, all units")
def iteration() -> float:
    few, many = (quantizing("adfq", iterations=n, batch_size=8) for n in (FEW, MANY))
    few()
    return (took(many) - took(few)) / (MANY - FEW)


@ratio("DeiT-S: calibrate repq / forward")
def calibration_in_forwards(fused: bool) -> float:
    return quantizing_in_forwards("repq", fused)


@measure(VITQ_IN_FORWARDS)
def calibration_of_vitq_in_forwards() -> float:
    return quantizing_in_forwards("vitq", fused=True, repeats=1)


def quantizing_in_forwards(recipe: str, fused: bool, repeats: int = REPEATS) -> float:
    import torch

    import vitq_core as vq

    images, model, float_model = pictures(32, 224), deit_small(), deit_small(fused)
    chosen = vq.recipe(recipe, 4, 4, effort="none")
    with torch.inference_mode():
        return in_turns(lambda: vq.quantize(model, images, chosen), lambda: float_model(images), repeats)


@ratio("DeiT-S: repq's forward / forward")
def simulated_in_forwards(fused: bool) -> float:
    import torch

    import vitq_core as vq

    images, float_model = pictures(32, 224), deit_small(fused)
    quantized = vq.quantize(deit_small(), images[:4], vq.recipe("repq", 4, 4)).model
    with torch.inference_mode():
        return in_turns(lambda: quantized(images), lambda: float_model(images))


@ratio("DeiT-S: relevance / training step")
def relevance_in_steps(fused: bool) -> float:
    """Of 16 pictures; a step is a forward and a backward pass, gradients of all weights."""
    import vitq_core as vq

    images, model, float_model = pictures(16, 224), deit_small(), deit_small(fused)

    def step() -> None:
        float_model.zero_grad()
        float_model(images).logsumexp(1).sum().backward()

    return in_turns(lambda: vq.relevance(model, images), step)


@measure("import vitq_core")
def start_engine() -> float:
    return took(lambda: import_module("vitq_core"))


@measure("start of the app")
def start_app() -> float:
    return took(lambda: import_module("ui.studio").build_studio())


if __name__ == "__main__":
    main()
