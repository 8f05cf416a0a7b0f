"""A stored run, run again: the same numbers, and a word about what has changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

import vitq_core as vq
from tests.sam import tiny_sam
from vitq_core.experiment.runs import FOLDER, SCENES, Asked, RunStore, quality_of, rerun

ASKED = Asked("demo-vit", vq.recipe("minmax", 4, 4), 2, 8)


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    monkeypatch.setenv("VITQ_HOME", str(tmp_path))
    return RunStore()


def test_the_command_gives_the_same_numbers(store, capsys) -> None:
    record = rerun.carry_out(ASKED)
    store.add(record)
    assert rerun.main([record.id]) == 0
    assert "Every number is the same." in capsys.readouterr().out
    assert rerun.main([]) == 0
    assert record.id in capsys.readouterr().out
    quality = quality_of(record.task, record.results)
    assert quality.name == "top1" and 0 <= quality.value <= 1 and quality.error is not None
    assert quality.lost == pytest.approx(100 * (quality.full - quality.value))
    assert record.results["quantized"]["n"] == 8


def test_what_is_another_is_named(store, capsys) -> None:
    record = rerun.carry_out(ASKED)
    results = {**record.results, "size_mb": 0.25}
    store.add(replace(record, results=results, made_of={**record.made_of, "weights": "ab"}))
    assert rerun.main([record.id]) == 1
    said = capsys.readouterr().out
    assert "size_mb: 0.25 then" in said and "weights: ab then" in said
    assert rerun.main(["nothing"]) == 2
    assert "There is no run 'nothing'" in capsys.readouterr().err


def test_pictures_that_are_gone_are_a_sentence(tmp_path) -> None:
    gone = str(tmp_path / "gone")
    with pytest.raises(ValueError, match="gone"):
        rerun.carry_out(replace(ASKED, pictures=FOLDER, places=(gone,)))
    with pytest.raises(ValueError, match="no kind of pictures called 'clouds'"):
        rerun.carry_out(replace(ASKED, pictures="clouds"))


def test_segment_anything_is_run_again_too(monkeypatch) -> None:
    monkeypatch.setattr(rerun, "load_model", lambda name: vq.wrap_model(tiny_sam()))
    asked = Asked("tiny", vq.recipe("minmax", 6, 6), 1, 2, pictures=SCENES)
    first, second = rerun.carry_out(asked), rerun.carry_out(asked)
    assert first.results == second.results and first.key == second.key
    assert quality_of(first.task, first.results).name == "box_iou"
    assert not list(rerun.differences(first.results, second.results))
