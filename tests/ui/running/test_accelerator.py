"""On a Space that lends GPUs heavy work is done in the process that has one, and comes to the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ui.running import accelerator

ROOT = Path(__file__).parents[3]
ZERO = Path(__file__).parent / "zero"
SECONDS = 240
# A visitor's morning on such a Space; each line that it prints is JSON.
STUDIO = """
import json, os, sys
import timm
import torch
import vitq_core as vq
from dataclasses import replace
from ui.explaining.scoring import Scoring
from ui.parts.jobs import Job
from ui.parts.settings import RunSettings
from ui.running import accelerator
from ui.segment.bench import SegmentBench
from ui.segment.settings import SamSettings
from ui.workbench import Workbench
from tests.segmenting import TINY, stand_in

torch.manual_seed(0)
size = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2, "num_classes": 6}
tiny = vq.wrap_model(timm.create_model("vit_tiny_patch16_224", **size), [*"abcdef"])
vq.load_model = lambda name, *args: tiny
stand_in(lambda *place: setattr(*place))
torch.ones(4000, 400) @ torch.ones(400, 4000)  # threads that a forked process lacks
said, bench, job = [], Workbench(), Job()
run = RunSettings("demo-vit", "repq", calibration=32, held_out=32, effort="quick", iterations=2)
outcome = bench.quantize(run, lambda done, text: said.append(text), job)
scores = bench.relevance.score(Scoring("demo-vit", count=4))
folder = bench.quantize(replace(run, effort="none", iterations=None, pictures="folder", folder=sys.argv[1]))
own = SegmentBench(bench)
masks = own.quantize(SamSettings(TINY, "minmax", 4, 4))
cancelled = Job()
cancelled.finish()
try:
    bench.quantize(replace(run, seed=1), job=cancelled)
    ended = "made"
except vq.Cancelled:
    ended = "cancelled"
try:
    bench.quantize(replace(run, recipe="lrp", weight_bits=8, effort="none", iterations=None))
    refused = ""
except Exception as error:
    refused = f"{type(error).__name__}: {error}"
os.environ["ZERO_QUOTA"] = "used"
try:
    bench.quantize(replace(run, seed=2))
    quota = ""
except vq.VitqError as error:
    quota = str(error)
print(json.dumps({
    "zero": accelerator.on_zero_gpu(), "lent": getattr(sys.modules.get("spaces"), "lent", None),
    "size": outcome.result.report.size_mb, "logits": outcome.logits.tolist(), "said": len(said) > 3,
    "answer": outcome.result.model(torch.ones(1, 3, 16, 16)).tolist(),
    "modules": len(job.log.finished), "same_model": outcome.result.source is outcome.model,
    "scores": scores.layer_scores, "folder": folder.evaluation.n, "ended": ended,
    "packed": bench.download(run).stat().st_size, "masks": masks.result.report.size_mb,
    "refused": refused, "quota": quota,
}))
"""


def studio(folder: Path, home: Path, **environment: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", STUDIO, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False,
        timeout=SECONDS,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ZERO}", "VITQ_HOME": str(home), "OMP_NUM_THREADS": "2",
             **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[dict, dict]:
    """The same on one's own machine and on such a Space."""
    from tests.ui.conftest import write_pictures

    root = tmp_path_factory.mktemp("zero")
    folder = write_pictures(root / "pictures", ["bee", "fox"], each=4)
    with ThreadPoolExecutor() as pool:
        here = pool.submit(studio, folder, root / "here")
        there = pool.submit(studio, folder, root / "there", SPACES_ZERO_GPU="true")
        return here.result(), there.result()


@pytest.mark.wide
def test_what_is_made_there_is_what_is_made_here(both):
    here, there = both
    assert not here["zero"] and not here["lent"] and there["zero"]
    assert here["refused"].startswith("ValueError")
    for name in ("size", "modules", "said", "folder", "masks", "ended", "refused", "same_model"):
        assert there[name] == here[name], name
    for name in ("logits", "answer"):
        for row, other in zip(here[name], there[name], strict=True):
            assert other == pytest.approx(row, abs=1e-3)
    assert there["scores"] == pytest.approx(here["scores"], rel=1e-3)
    assert here["modules"] and here["said"] and here["same_model"] and here["ended"] == "cancelled"


def test_it_asks_for_as_long_as_the_work_may_take_and_says_when_none_is_left(both):
    _, there = both
    assert there["lent"][:2] == [accelerator.QUICK, accelerator.CALIBRATING]
    assert there["quota"] == "You have exceeded your GPU quota."


@pytest.mark.parametrize(("said", "on"), [("true", True), ("1", True), ("", False), ("no", False)])
def test_it_takes_both_the_package_and_the_environment(monkeypatch, said, on):
    monkeypatch.setenv("SPACES_ZERO_GPU", said)
    monkeypatch.syspath_prepend(str(ZERO))
    assert accelerator.on_zero_gpu() is on
    monkeypatch.setattr(accelerator, "find_spec", lambda name: None)
    assert not accelerator.on_zero_gpu()


def test_elsewhere_nothing_is_copied():
    given = object()
    assert accelerator.carry_out(lambda thing, cancel: thing, given, asked={"cancel": None}) is given
