"""The file that starts the studio."""

import os
import subprocess
import sys

from tests.server import ROOT

COUNTED = """
import gc, torch

def models():
    modules = [each for each in gc.get_objects() if isinstance(each, torch.nn.Module)]
    return sum(sum(p.numel() for p in each.parameters(recurse=False)) > 1000 for each in modules)

import app
print(models())
import vitq_core as vq
kept = vq.load_model("demo-vit")
print(models())
"""


def test_importing_it_loads_no_model(tmp_path):
    """Whoever imports it, a host's checks among them, gets an answer before any weights are read."""
    environment = {**os.environ, "VITQ_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    said = subprocess.run(
        [sys.executable, "-c", COUNTED], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True,
        check=True,
    ).stdout.split()  # fmt: skip
    imported, loaded = map(int, said)
    assert imported == 0 and loaded > 0
    assert not list(tmp_path.iterdir())
