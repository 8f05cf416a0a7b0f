"""What Tab offers, and that it does not wait for torch once the names are known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

import vitq_core as vq
from vitq_core.cli import completing
from vitq_core.experiment.runs import RunStore

from .conftest import FEW


@pytest.mark.parametrize(
    "offer, known",
    [
        (completing.models, {info.id for info in vq.list_models()}),
        (completing.recipes, set(vq.RECIPES)),
        (completing.formats, set(vq.EXPORTERS)),
        (completing.sources, set(vq.SOURCES)),
        (completing.efforts, {"none", *vq.EFFORTS}),
    ],
)
def test_every_name_is_offered(home, offer, known):
    assert {name for name, _ in offer("")} == known
    assert (home / completing.FILE).is_file()
    some = next(iter(known))
    assert some in {name for name, _ in offer(some[:2])} and offer("nothing begins so") == []


def test_settings_of_methods_and_of_fine_tuning():
    names = {name for name, _ in completing.settings("")}
    assert {"alpha_ratio=", "iterations=", "drop=", "parts="} <= names


def test_runs_are_offered_by_the_sqlite_file_alone(vitq):
    assert completing.runs("") == []  # no store, and none is made
    vitq("quantize", "demo-vit", *FEW)
    (record,) = RunStore().all()
    RunStore().add(replace(record, id="somebody0000", owner="somebody"))
    assert completing.runs("") == [("last", "the newest run"), (record.id, record.name)]


def test_names_that_are_out_of_date_are_looked_up_again(home):
    completing.recipes("")
    kept = json.loads((home / completing.FILE).read_text())
    (home / completing.FILE).write_text(json.dumps({"stamp": kept["stamp"] - 1, "names": {"recipes": []}}))
    assert completing.recipes("min")
    (home / completing.FILE).write_text("damaged")
    assert completing.recipes("min")


def test_a_shell_is_answered_without_torch(home):
    completing.recipes("")
    code = "import sys, vitq_core.cli as c\ntry: c.main()\nfinally: print('torch' in sys.modules)"
    words = {"COMP_WORDS": "vitq quantize demo-vit --recipe rep", "COMP_CWORD": "4"}
    asked = {"_VITQ_COMPLETE": "complete_bash", **words}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, **asked, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.stdout.split() == ["repq", "False"], done
