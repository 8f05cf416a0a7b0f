"""Cells on a Ray cluster. Where Ray is not installed only its sentence is tested, and the rest skipped."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vitq_core.common.errors import VitqError
from vitq_core.experiment.cells import Cell, fill
from vitq_core.experiment.on_ray import fill_on_ray

from ..workers import ROOT

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


def squares(numbers: range, folder: Path) -> list[Cell]:
    """Cells that leave the number of the process that worked them out."""

    def work(number: int) -> dict:
        import os

        if number == 3:
            raise ValueError("three is not liked")
        return {"square": number**2, "pid": os.getpid()}

    return [Cell(f"cell {number}", lambda number=number: work(number)) for number in numbers]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A local one of two processors."""
    command = [sys.executable, "-m", "ray.scripts.scripts"]
    start = ["start", "--head", "--num-cpus=2", "--port=0", "--include-dashboard=false"]

    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": "/tmp"}
    ended = subprocess.run([*command, *start], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    yield
    subprocess.run([*command, "stop"], env=environment, capture_output=True)


@needs_ray
def test_no_cluster_is_a_sentence(tmp_path) -> None:
    """Before there is one."""
    with pytest.raises(VitqError, match="there is no Ray cluster here"):
        fill_on_ray(squares(range(1), tmp_path), tmp_path)


@needs_ray
def test_a_cluster_works_out_the_cells_once(tmp_path, cluster) -> None:
    import os

    heard: list[tuple[float, str]] = []
    table = fill_on_ray(squares(range(5), tmp_path), tmp_path, lambda *said: heard.append(said))
    assert {key: found["square"] for key, found in table.results.items()} == {
        f"cell {n}": n * n for n in (0, 1, 2, 4)
    }
    assert os.getpid() not in {found["pid"] for found in table.results.values()}
    assert table.failed == {"cell 3": "three is not liked"}
    assert heard[-1] == (1.0, "5 of 5 cells there")
    cells = [Cell("cell 3", lambda: {"square": 9}), *squares(range(3), tmp_path)]
    again = fill(cells, tmp_path)
    assert again.results["cell 1"] == table.results["cell 1"], "a plain process finds them there"


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_a_sentence_says_how_to_get_it(tmp_path) -> None:
    with pytest.raises(VitqError, match=r'Ray is not installed; pip install "ray\[tune\]"'):
        fill_on_ray(squares(range(1), tmp_path), tmp_path)
