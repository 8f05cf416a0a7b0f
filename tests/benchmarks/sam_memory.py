"""What the published ViT-B Segment Anything needs to be quantized, with random weights and two pictures of
1024 × 1024, written to docs/sam_memory.json;
rows that are there are not measured again.

    python -m tests.benchmarks.sam_memory

Each row in a process of its own: calibrated by `repq`, and with one block of the encoder reconstructed, the
first whose attention covers the whole picture.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import vitq_core as vq

from .markdown import table
from .test_memory import peak_bytes

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "sam_memory.json"
PICTURES, SIDE, BLOCK = 2, 1024, 2
ITERATIONS = 4  # the memory of one is that of a thousand
LIMITS_GB = {"calibrated": 12, "a block reconstructed": 16}


def records(count: int, side: int) -> list[dict]:
    """Random pictures with one click each, as ``Sam.forward`` takes them."""
    rng = np.random.default_rng(0)
    return [
        {
            "image": torch.from_numpy(rng.integers(0, 256, (3, side, side)).astype(np.float32)),
            "original_size": (side, side),
            "point_coords": torch.tensor([[[side / 2, side / 2]]]),
            "point_labels": torch.ones(1, 1),
        }
        for _ in range(count)
    ]


def calibrated() -> vq.QuantizeResult:
    return _quantized(vq.recipe("repq", 6, 6))


def one_block() -> vq.QuantizeResult:
    from vitq_core.graph.sam.family import SegmentAnything

    units = SegmentAnything.units
    wanted = f"image_encoder.blocks.{BLOCK}"
    SegmentAnything.units = lambda self, module: [u for u in units(self, module) if u.name == wanted]
    settings = {"iterations": ITERATIONS, "batch_size": 1, "pictures": PICTURES}
    result = _quantized(vq.recipe("repq", 6, 6, effort="quick", **settings))
    assert [row.unit for row in result.report.units] == [wanted]
    return result


def _quantized(recipe: vq.Recipe) -> vq.QuantizeResult:
    from segment_anything import sam_model_registry

    torch.manual_seed(0)
    sam = sam_model_registry["vit_b"]().eval()
    return vq.quantize(sam, [[record] for record in records(PICTURES, SIDE)], recipe)


ROWS: dict[str, Callable[[], vq.QuantizeResult]] = {
    "calibrated": calibrated,
    "a block reconstructed": one_block,
}


def main() -> None:
    if len(sys.argv) > 1:
        ROWS[sys.argv[1]]()
        print(json.dumps({"peak_gb": peak_bytes() / 1e9}))
        return
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in ROWS.keys() - found.keys():
        command = [sys.executable, "-m", "tests.benchmarks.sam_memory", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[name] = json.loads(done.stdout.splitlines()[-1])
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(page(found))


def page(found: dict) -> str:
    rows = [[name, f"{row['peak_gb']:.1f} GB", f"{LIMITS_GB[name]} GB"] for name, row in found.items()]
    return table(["ViT-B, two pictures of 1024 × 1024", "peak memory", "at most"], rows)


if __name__ == "__main__":
    main()
