"""`vitq job`: a file that runs a command on many machines."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml

COMMAND = ("--", "reproduce", "--table", "1", "--data", "/data with spaces")


def test_slurm_gets_a_script_that_bash_understands(vitq: Callable[..., Any]) -> None:
    said = vitq("job", "slurm", "--nodes", "3", "--processes", "2", "--gpus", *COMMAND).stdout
    assert "#SBATCH --nodes=3" in said and "--gpus-per-node=2" in said
    assert "-m vitq_core reproduce --table 1 --data '/data with spaces'" in said
    assert subprocess.run(["bash", "-n"], input=said, text=True, check=False).returncode == 0


def test_kubernetes_gets_a_job(vitq: Callable[..., Any]) -> None:
    options = ("--nodes", "3", "--image", "vitq:1", "--data", "pvc:pictures", "--name", "tables")
    service, job = yaml.safe_load_all(vitq("job", "kubernetes", *options, *COMMAND).stdout)
    assert service["metadata"]["name"] == job["metadata"]["name"] == "tables"
    assert job["spec"]["completions"] == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pbs", *COMMAND], "unknown kind of job 'pbs'; available: slurm, kubernetes"),
        (["slurm", "--", "quantize", "demo-vit"], "many machines can share evaluate"),
        (["slurm", "--nodes", "0", *COMMAND], "nodes must be a whole number of at least 1"),
        (["kubernetes", *COMMAND], "a job of Kubernetes runs in a container: give image="),
    ],
)
def test_wrong_input_is_a_sentence(vitq: Callable[..., Any], arguments: list[str], said: str) -> None:
    assert said in vitq("job", *arguments, code=2).stderr
