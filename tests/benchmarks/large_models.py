"""What models of the published sizes need to be quantized, with random weights and 32 pictures, written to
docs/large_models.json; rows that are there are not measured again.

    python -m tests.benchmarks.large_models

Each row in a process of its own, nothing learned, W4/A4. Passes: the time of calibrating over that of one
full-precision forward of the same pictures, measured before it in the same process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import timm
import torch

import vitq_core as vq

from .markdown import table
from .test_memory import peak_bytes

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "large_models.json"
PICTURES, BATCH = 32, 8


class Asked(NamedTuple):
    """Gigabytes above the model and everything that was there before it, and forward passes, at most."""

    architecture: str
    recipe: str
    gb: float
    passes: float | None = None


ROWS = {
    "DeiT-Base, ADFQ-ViT": Asked("deit_base_patch16_224", "adfq", 4, 15),
    "DeiT-Base, LRP-QViT": Asked("deit_base_patch16_224", "lrp", 4, 15),
    "ViT-L, RepQ-ViT": Asked("vit_large_patch16_224", "repq", 6),
    "ViT-L, ADFQ-ViT": Asked("vit_large_patch16_224", "adfq", 6),
}


def measured(asked: Asked) -> dict:
    torch.manual_seed(0)
    plain = resident_bytes()
    model = timm.create_model(asked.architecture).eval()
    random = torch.Generator().manual_seed(0)
    batches = [torch.randn(BATCH, 3, 224, 224, generator=random) for _ in range(PICTURES // BATCH)]
    begin = time.perf_counter()
    with torch.no_grad():
        for batch in batches:
            model(batch)
    forward, before = time.perf_counter() - begin, resident_bytes()
    begin = time.perf_counter()
    vq.quantize(model, batches, vq.recipe(asked.recipe, 4, 4, effort="none"))
    seconds, peak = time.perf_counter() - begin, peak_bytes()
    return {
        "params": sum(part.numel() for part in model.parameters()),
        "above_torch_gb": (peak - plain) / 1e9,
        "above_model_gb": (peak - before) / 1e9,
        "forward_seconds": forward,
        "passes": seconds / forward,
    }


def resident_bytes() -> int:
    """Of this process now."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line)
    return int(line.split()[1]) * 1024


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measured(ROWS[sys.argv[1]])))
        return
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in [name for name in ROWS if name not in found]:
        command = [sys.executable, "-m", "tests.benchmarks.large_models", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[name] = json.loads(done.stdout.splitlines()[-1])
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        print(name, found[name], flush=True)
    print(page(found))


def page(found: Mapping[str, Mapping]) -> str:
    head = ["model and method", "above the model", "above PyTorch's own", "forward passes", "at most"]
    return table(head, [_line(name, found[name]) for name in ROWS if name in found])


def _line(name: str, row: Mapping) -> list[str]:
    asked = ROWS[name]
    most = f"{asked.gb:g} GB" + (f", {asked.passes:g} passes" if asked.passes else "")
    gigabytes = [f"{row[part]:.1f} GB" for part in ("above_model_gb", "above_torch_gb")]
    return [f"{name} ({row['params'] / 1e6:.0f} M)", *gigabytes, f"{row['passes']:.1f}", most]


if __name__ == "__main__":
    main()
