"""A sweep makes each run once, whoever makes it, and the studio's store has them in the end."""

from __future__ import annotations

from dataclasses import replace

import pytest

import vitq_core as vq
from vitq_core.common.processes import Group
from vitq_core.experiment import sweep as module
from vitq_core.experiment.runs import Asked, RunStore, rerun
from vitq_core.experiment.sweep import Swept, settings_over_seeds, sweep, sweep_cells, title_of

from ..workers import in_threads

RECIPES = [vq.recipe("minmax", bits, bits) for bits in (4, 8)]


def asked(**more: object) -> list[Asked]:
    return settings_over_seeds("demo-vit", RECIPES, (0, 1), 2, 8, **more)


def test_settings_over_seeds() -> None:
    runs = asked()
    assert [(run.recipe.weight_bits, run.seed) for run in runs] == [(4, 0), (4, 1), (8, 0), (8, 1)]
    titles = [title_of(run) for run in (*runs, replace(runs[0], judged=9), replace(runs[0], places=("a",)))]
    assert len(set(titles)) == 6 and titles[0].startswith("demo-vit minmax W4/A4 seed 0 ")
    assert len(sweep_cells([*runs, *runs])) == 4, "the same run is there once"


def test_workers_make_each_run_once_and_one_keeps_them(tmp_path, monkeypatch) -> None:
    made: list[str] = []
    carry_out = rerun.carry_out
    monkeypatch.setattr("vitq_core.experiment.cells.POLL", 0.01)
    monkeypatch.setattr(module, "carry_out", lambda run: made.append(title_of(run)) or carry_out(run))
    store = RunStore(tmp_path / "runs.sqlite")

    def work(group: Group) -> Swept:
        return sweep(asked()[:3], tmp_path / "cells", group, store=store)

    first, second = in_threads(2, work)
    assert sorted(made) == sorted(first.records) == sorted(map(title_of, asked()[:3]))
    assert first == second and first.failed == {}
    assert {record.id for record in store.all()} == {record.id for record in first.records.values()}
    again = sweep(asked()[:3], tmp_path / "cells", store=store)
    assert again == first and len(made) == 3 and len(store.all()) == 3
    bits = {record.asked.recipe.weight_bits: record.results["size_mb"] for record in store.all()}
    assert bits[4] < bits[8]


def test_a_run_that_cannot_be_made_is_a_sentence(tmp_path) -> None:
    runs = [replace(asked()[0], pictures="clouds")]
    store = RunStore(tmp_path / "runs.sqlite")
    swept = sweep(runs, tmp_path / "cells", store=store)
    (sentence,) = swept.failed.values()
    assert "no kind of pictures called 'clouds'" in sentence and swept.records == {} and store.all() == []


@pytest.mark.parametrize("recipes", [[], RECIPES])
def test_no_seeds_are_no_runs(recipes: list) -> None:
    assert settings_over_seeds("demo-vit", recipes, (), 2, 8) == []
