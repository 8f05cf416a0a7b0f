"""Folders of quantized models, tampered with and loaded, written to docs/tampered.json.

    python -m tests.benchmarks.tampered --files 1000

Of tiny models of every family copies are changed, one in one way each: damaged as a disk or a download does
it, or forged, with every checksum made right again. A process of its own loads each and calls what it got.
Right is a VitqError, or the same outputs bit for bit. What was forged and still describes a sound model, with
other codes or another finite scale, gives other outputs: no reader can tell it from an honest file, so such
ones are counted apart. Everything else is a fault: other outputs of a damaged file, outputs that are not
finite, another error, an error only when called, too much memory. The exit code is 1 where there is one.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

import vitq_core as vq
from tests.conftest import build, random_pictures
from tests.sam import TINY, records, tiny_sam
from tests.swin import pictures, tiny_swin
from tests.tampering import as_format, edited, with_tensors
from vitq_core.common.batch import Batch
from vitq_core.common.process_memory import peak_memory
from vitq_core.exporters.packed.container import WEIGHTS

from .markdown import table
from .provenance import commit_of, machine

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "tampered.json"
MOST_MB = 500  # of memory, above what the process had before
PATIENCE = 60.0  # seconds for a file
HUGE_DEPTH = 100_000
REFUSED, SAME, OTHER = "refused", "same", "other"
# What takes a value's place; NaN and infinity as Python's own JSON writes them.
WRONG = (
    *(0, 1, 2, 3, 7, -1, -(2**31), 10**6, 10**9, 2**40, 2**63, 10**400, HUGE_DEPTH),
    *(0.0, 0.5, -0.5, 1e-300, 1e30, 1e308, math.nan, math.inf, -math.inf),
    *("", "x", "eval", "../../etc/passwd", "uniform", None, True, False, [], {}, [1, 1], ["x"], {"a": 1}),
)
LARGE = (10**4, HUGE_DEPTH, 10**7, 10**9, 2**31, 2**40, 2**62)


@dataclass(frozen=True)
class Kind:
    """A way to tamper. ``forged``: checksums are right again, or it is of a format that has none."""

    title: str
    change: Callable[[random.Random, Path], None]
    forged: bool = False


@dataclass(frozen=True)
class Outcome:
    """``what``: REFUSED, SAME, OTHER, or in words the fault."""

    what: str
    peak_mb: float
    seconds: float


_recipe = partial(vq.recipe, effort="none")


# -- models ---------------------------------------------------------------------------------------------
def save_models(folder: Path) -> list[Path]:
    """Each in a folder of its own, and beside it what it answers (``….pt``)."""
    mixed = {"blocks.0.mlp.fc1": (3, 5), "blocks.0.attn.qkv": (2, 7), "head": (8, 8)}
    few = {"embed_dim": 12, "num_heads": 2}
    vit, features, swin, sam = build(depth=2), build(num_classes=0), tiny_swin(), tiny_sam(TINY)
    labelled = vq.wrap_model(vit, labels=list("abcde"))
    made = {
        "vit": (labelled, random_pictures(vit), _recipe("repq", bits=mixed)),
        "vit-outliers": (build(**few), random_pictures(vit), _recipe("adfq", 3, 5, alpha_ratio=0.02)),
        "features": (features, random_pictures(features), _recipe("vitq", 6, 6)),
        "swin": (swin, pictures(swin), _recipe("crl", 5, 4)),
        "sam": (sam, [[record] for record in records(2)], _recipe("ptq4sam", 4, 4)),
    }
    return [_saved(folder / name, *parts) for name, parts in made.items()]


def _saved(folder: Path, model: object, images: Any, recipe: vq.Recipe) -> Path:
    result = vq.quantize(model, images, recipe)
    vq.save_quantized(result, folder)
    simulation = result.model.vitq
    batch = simulation.prepared.task.example(simulation.input_size, 2)
    torch.save((batch, answers(result.model, batch)), folder.with_suffix(".pt"))
    return folder


def answers(module: torch.nn.Module, batch: Batch) -> list[Tensor]:
    with torch.no_grad():
        return tree_leaves(batch.through(module))


# -- ways to tamper -------------------------------------------------------------------------------------
def _bytes(
    change: Callable[[random.Random, bytearray, int], object],
) -> Callable[[random.Random, Path], None]:
    """``change(rng, data, where tensors begin)`` in place."""

    def tamper(rng: random.Random, folder: Path) -> None:
        data = bytearray((folder / WEIGHTS).read_bytes())
        change(rng, data, 8 + int.from_bytes(data[:8], "little"))
        (folder / WEIGHTS).write_bytes(data)

    return tamper


def _flip(rng: random.Random, data: bytearray, first: int, last: int) -> None:
    data[rng.randrange(first, last)] ^= 1 << rng.randrange(8)


def _cut(rng: random.Random, data: bytearray, _: int) -> None:
    del data[rng.randrange(len(data)) :]


def _grow(rng: random.Random, data: bytearray, _: int) -> None:
    data += rng.randbytes(rng.choice((1, 8, 1000)))


def _tensors(
    change: Callable[[random.Random, dict[str, Tensor], str], object], name: str = ""
) -> Callable[[random.Random, Path], None]:
    """``change(rng, tensors, name)``: of one whose name ends with ``name``."""

    def tamper(rng: random.Random, folder: Path) -> None:
        with_tensors(lambda found: change(rng, found, rng.choice([n for n in found if n.endswith(name)])))(
            folder
        )

    return tamper


def _type(rng: random.Random, tensors: dict[str, Tensor], name: str) -> None:
    kinds = (torch.float32, torch.uint8, torch.int16, torch.int64, torch.float64, torch.float16, torch.bool)
    tensors[name] = tensors[name].to(rng.choice([kind for kind in kinds if kind != tensors[name].dtype]))


def _shape(rng: random.Random, tensors: dict[str, Tensor], name: str) -> None:
    x = tensors[name]
    changes = (
        lambda: x.reshape(-1), lambda: x[None], lambda: x[..., None], lambda: x.reshape(-1)[:-1],
        lambda: torch.cat((x.reshape(-1), x.reshape(-1))), lambda: x.new_zeros(0),
        lambda: x.new_ones(1, 1, 1, 1),
    )  # fmt: skip
    tensors[name] = rng.choice(changes)().clone()


def _value(*values: float) -> Callable[[random.Random, dict[str, Tensor], str], None]:
    def change(rng: random.Random, tensors: dict[str, Tensor], name: str) -> None:
        x = tensors[name] = tensors[name].float().clone()
        x.view(-1)[rng.randrange(x.numel())] = rng.choice(values)

    return change


def _names(rng: random.Random, tensors: dict[str, Tensor], name: str) -> None:
    """One goes, comes, or is called otherwise."""
    tensor = tensors.pop(name) if rng.random() < 0.7 else tensors[name].clone()
    if rng.random() < 0.7:
        tensors[rng.choice(("forward", "os.path", f"{name}2", "head.extra", "", "a.b.c"))] = tensor


def _codes(rng: random.Random, tensors: dict[str, Tensor], name: str) -> None:
    x = tensors[name]
    x[rng.randrange(x.numel())] ^= 1 << rng.randrange(8)


def _json(change: Callable[[random.Random, Any], object]) -> Callable[[random.Random, Path], None]:
    return lambda rng, folder: edited(lambda description: change(rng, description))(folder)


def _places(data: Any, path: tuple = ()) -> Iterator[tuple]:
    """Paths of everything in nested tables and lists."""
    for key, part in data.items() if isinstance(data, dict) else enumerate(data):
        yield (*path, key)
        if isinstance(part, (dict, list)):
            yield from _places(part, (*path, key))


def _somewhere(rng: random.Random, description: dict) -> tuple[Any, Any]:
    """(table or list, key) of a part; first its section is drawn, as some have thousands."""
    section = rng.choice([*description])
    inner = [*_places(description[section])] if isinstance(description[section], (dict, list)) else []
    holder, path = description, (section, *rng.choice(inner)) if inner else (section,)
    for key in path[:-1]:
        holder = holder[key]
    return holder, path[-1]


def _replace(rng: random.Random, description: dict) -> None:
    holder, key = _somewhere(rng, description)
    holder[key] = rng.choice(WRONG)


def _drop(rng: random.Random, description: dict) -> None:
    holder, key = _somewhere(rng, description)
    del holder[key]


def _exchange(rng: random.Random, description: dict) -> None:
    (one, first), (other, second) = _somewhere(rng, description), _somewhere(rng, description)
    one[first], other[second] = other[second], one[first]


def _sizes(rng: random.Random, description: dict) -> None:
    """A whole number of the architecture, or of the pictures, becomes huge."""
    places = [
        (holder, key)
        for path in _places(description["config"])
        for holder, key in [_held(description["config"], path)]
        if type(holder[key]) in (int, float)
    ]
    places += [(description["input_size"], index) for index in range(3)]
    holder, key = rng.choice(places)
    holder[key] = rng.choice(LARGE)


def _depth(rng: random.Random, description: dict) -> None:
    config = description["config"]
    if "depths" in config:
        config["depths"][0] = HUGE_DEPTH
    else:
        config[rng.choice([key for key in ("depth", "decoder_depth", "iou_depth") if key in config])] = (
            HUGE_DEPTH
        )


def _held(data: Any, path: tuple) -> tuple[Any, Any]:
    for key in path[:-1]:
        data = data[key]
    return data, path[-1]


def _unsigned(change: Callable[[random.Random, Any], object]) -> Callable[[random.Random, Path], None]:
    """The description is another, its checksum is not."""

    def tamper(rng: random.Random, folder: Path) -> None:
        before = (folder / WEIGHTS).read_bytes()
        digest = _digest(before)
        edited(lambda description: change(rng, description))(folder)
        after = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).write_bytes(after.replace(_digest(after), digest))

    return tamper


def _digest(data: bytes) -> bytes:
    start = data.index(b'"vitq":"') + 8
    return data[start : start + 64]


def _earlier(change: Callable[[random.Random, Path], None]) -> Callable[[random.Random, Path], None]:
    def tamper(rng: random.Random, folder: Path) -> None:
        as_format(rng.choice((1, 2)), folder)
        change(rng, folder)

    return tamper


NAN, MUCH = (math.nan, math.inf, -math.inf), (1e38, -1e38, 3e38)
KINDS = (
    Kind("a bit of the header", _bytes(lambda rng, data, start: _flip(rng, data, 0, start))),
    Kind("a bit of a tensor", _bytes(lambda rng, data, start: _flip(rng, data, start, len(data)))),
    Kind("cut off", _bytes(_cut)),
    Kind("bytes added", _bytes(_grow)),
    Kind("a value of the description, its checksum left", _unsigned(_replace)),
    Kind("a tensor's type", _tensors(_type), forged=True),
    Kind("a tensor's shape", _tensors(_shape), forged=True),
    Kind("a tensor gone, added or renamed", _tensors(_names), forged=True),
    Kind("NaN or infinity in a tensor", _tensors(_value(*NAN)), forged=True),
    Kind("a scale of 0 or below", _tensors(_value(0.0, -1.0, -1e-9), ".scale"), forged=True),
    Kind("an extreme number in a tensor", _tensors(_value(*MUCH)), forged=True),
    Kind("another scale", _tensors(_value(0.5, 2.0), ".scale"), forged=True),
    Kind("another code", _tensors(_codes, ".codes"), forged=True),
    Kind("a value of the description", _json(_replace), forged=True),
    Kind("a part of the description gone", _json(_drop), forged=True),
    Kind("two parts of the description exchanged", _json(_exchange), forged=True),
    Kind("a huge size", _json(_sizes), forged=True),
    Kind("a depth of 100,000", _json(_depth), forged=True),
    Kind("format 1 or 2: a value of the description", _earlier(_json(_replace)), forged=True),
    Kind("format 1 or 2: a huge size", _earlier(_json(_sizes)), forged=True),
    Kind("format 1 or 2: NaN or infinity", _earlier(_tensors(_value(*NAN))), forged=True),
)


# -- loading --------------------------------------------------------------------------------------------
class Loader:
    """A process that loads what it is told to; started again where a file ends it."""

    def __init__(self) -> None:
        self._process: Any = None

    def load(self, folder: Path, answers_path: Path) -> Outcome:
        if self._process is None or not self._process.is_alive():
            self._start()
        self._pipe.send((folder, answers_path))
        try:
            if self._pipe.poll(PATIENCE):
                return self._pipe.recv()
        except EOFError:
            pass
        self.close()
        return Outcome("the process died or took too long", 0.0, PATIENCE)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other,), daemon=True)
        self._process.start()
        other.close()


def _serve(pipe: Connection) -> None:
    torch.set_num_threads(1)
    while True:
        folder, answers_path = pipe.recv()
        start = time.perf_counter()
        with peak_memory() as peak:
            what = _what(folder, *torch.load(answers_path, weights_only=False))
        pipe.send(Outcome(what, peak.host / 1e6, time.perf_counter() - start))


def _what(folder: Path, batch: Batch, expected: list[Tensor]) -> str:
    try:
        loaded = vq.load_quantized(folder)
    except vq.VitqError:
        return REFUSED
    except Exception as error:
        return f"raised {type(error).__name__}: {error!s:.200}"
    try:
        simulation = loaded.model.vitq
        found = answers(loaded.model, batch) if batch.shape == simulation.input_size else None
        again = simulation.prepared.task.example(simulation.input_size, 2)
        found = answers(loaded.model, again) if found is None else found
        repr(loaded.report), loaded.report.compression, loaded.labels, loaded.recipe.to_json()
    except Exception as error:
        return f"failed when called: {type(error).__name__}: {error!s:.200}"
    if not all(torch.isfinite(answer).all() for answer in found):
        return "outputs that are not finite"
    alike = len(found) == len(expected) and all(map(torch.equal, found, expected))
    return SAME if alike else OTHER


def tried(count: int, seed: int, scratch: Path) -> list[tuple[Kind, str, Outcome]]:
    """(kind, model, outcome) of ``count`` files, kinds and models in turn."""
    models, loader, rng, found = save_models(scratch), Loader(), random.Random(seed), []
    for model in models:
        outcome = loader.load(model, model.with_suffix(".pt"))  # the first loads what is loaded late
        if outcome.what != SAME:
            raise RuntimeError(f"{model.name} as it was saved: {outcome.what}")
    for number in range(count):
        kind, model = KINDS[number % len(KINDS)], models[number // len(KINDS) % len(models)]
        folder = scratch / "tampered"
        shutil.copytree(model, folder)
        kind.change(rng, folder)
        found.append((kind, model.name, loader.load(folder, model.with_suffix(".pt"))))
        shutil.rmtree(folder)
    loader.close()
    return found


def fault(kind: Kind, outcome: Outcome) -> str | None:
    """In words; None where all is right."""
    if outcome.peak_mb > MOST_MB:
        return f"{outcome.peak_mb:.0f} MB"
    if outcome.what == OTHER:
        return None if kind.forged else "other outputs"
    return None if outcome.what in (REFUSED, SAME) else outcome.what


def summary(found: list[tuple[Kind, str, Outcome]]) -> dict[str, Any]:
    kinds: dict[str, Counter] = {kind.title: Counter() for kind in KINDS}
    for kind, _, outcome in found:
        wrong = fault(kind, outcome)
        kinds[kind.title][outcome.what if wrong is None else "faults"] += 1
    keys = (REFUSED, SAME, OTHER, "faults")
    return {
        "kinds": {title: {key: counts[key] for key in keys} for title, counts in kinds.items()},
        "peak_mb": round(max(outcome.peak_mb for *_, outcome in found)),
        "slowest_s": round(max(outcome.seconds for *_, outcome in found), 2),
    }


def page(found: Mapping[str, Any]) -> str:
    """A row for each kind, and what all of them took."""
    columns = (REFUSED, SAME, OTHER, "faults")
    rows = [[title, *(f"{counts[key]:,}" for key in columns)] for title, counts in found["kinds"].items()]
    totals = [sum(counts[key] for counts in found["kinds"].values()) for key in columns]
    rows.append(["**all**", *(f"**{total:,}**" for total in totals)])
    heads = ["changed", "refused", "same outputs", "other outputs, forged and sound", "faults"]
    about = found["about"]
    return (
        f"{table(heads, rows)}\n\nMost memory for a file: {found['peak_mb']:,} MB above what its process "
        f"had; slowest file: {found['slowest_s']:.2f} s. Models: {', '.join(about['models'])}; "
        f"seed {about['seed']}; commit {about['commit']}; {about['machine']}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = tried(options.files, options.seed, Path(folder))
    models = [*dict.fromkeys(name for _, name, _ in found)]
    about = {"commit": commit_of(ROOT), "machine": machine(), "seed": options.seed, "models": models}
    measured = {"about": about, **summary(found)}
    options.results.write_text(json.dumps(measured, indent=1) + "\n")
    print(page(measured))
    for kind, model, outcome in found:
        if wrong := fault(kind, outcome):
            print(f"{kind.title} · {model}: {wrong}")
    sys.exit(any(fault(kind, outcome) for kind, _, outcome in found))


if __name__ == "__main__":
    main()
