"""Peak memory while calibrating, each number of pictures in a process that makes them on the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys, torch, vitq_core as vq
from tests.benchmarks.test_memory import peak_bytes
from timm.models.vision_transformer import VisionTransformer
size = dict(img_size=96, patch_size=8, embed_dim=192, depth=2, num_heads=3, num_classes=10)
model = VisionTransformer(**size).eval()
random = torch.Generator().manual_seed(0)
batches = (torch.randn(32, 3, 96, 96, generator=random) for _ in range(int(sys.argv[1]) // 32))
vq.quantize(model, batches, vq.recipe("repq", weight_bits=4, act_bits=4))
print(peak_bytes() / 2**20)
"""


def peak_bytes() -> int:
    """Resident memory at most of this process alone: getrusage's maximum is inherited from its parent."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(line.split()[1]) * 1024


def peak_mb(pictures: int) -> float:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(pictures)], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def test_memory_does_not_grow_from_64_to_1024_pictures():
    few, many = peak_mb(64), peak_mb(1024)
    activations = 1024 * 145 * 192 * 4 / 2**20
    print(f"\npeak memory: {few:.0f} MB with 64 pictures, {many:.0f} MB with 1,024")
    print(f"(the activations between two blocks alone are {activations:.0f} MB for 1,024 pictures)")
    # Three stores may each hold 16 MB before they go on in files, and the tails are 0.2 % of one activation.
    assert many - few < 80
