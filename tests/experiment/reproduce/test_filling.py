"""Cells of a table: measured once for what decides their numbers, compared with what is printed."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

import vitq_core as vq
from vitq_core.experiment import reproduce
from vitq_core.experiment.reproduce import FULL, TABLES, Asked, Row, Subject, Table, cells_of, entries
from vitq_core.experiment.samples import builtin_source

ROWS = (
    Row("Min–max", "minmax", 8, {"DeiT-S": 70.0}),
    Row("RepQ-ViT", "repq", 4, {}, calibration=16),
    Row("of noise", "minmax", 8, {}, generated=True),
)
TABLE = Table("A table", "For this test.", ROWS)
TRIAL = Asked(limit=16)
OPENED: list[str] = []


@pytest.fixture(scope="module")
def demo() -> vq.Model:
    return vq.load_model("demo-vit")


@pytest.fixture
def cells(demo: vq.Model) -> Iterator[list[reproduce.TableCell]]:
    def opened(name: str) -> Subject:
        OPENED.append(name)
        return Subject(demo, builtin_source(demo), TRIAL)

    OPENED.clear()
    yield cells_of(TABLE, ["demo-vit", "other"], opened, TRIAL, "scenes")


def test_full_precision_comes_first_and_a_model_is_opened_when_it_is_needed(cells) -> None:
    assert [cell.title for cell in cells[:2]] == [f"demo-vit, {FULL}", "demo-vit, Min–max W8/A8"]
    assert len(cells) == 8 and OPENED == []
    full = cells[0].work()
    assert full["n"] == 16 and full["top1"] > 0.9 and OPENED == ["demo-vit"]
    cells[1].work()
    assert OPENED == ["demo-vit"]
    cells[4].work()
    cells[0].work()
    assert OPENED == ["demo-vit", "other", "demo-vit"]  # one in memory at a time


def test_a_cell_tells_accuracy_time_and_memory(cells) -> None:
    heard: list[float] = []
    found = cells[1].work(lambda share, said: heard.append(share))
    assert json.loads(json.dumps(found)) == found and heard
    assert found["n"] == 16 and found["calibration"] == 2 and found["agreement"] > 0.9
    assert found["seconds"] >= found["quantize_seconds"] > 0 and found["avg_weight_bits"] > 7.9
    assert found["host_mb"] is None or found["host_mb"] >= 0


def test_pictures_of_noise_are_what_the_row_is_calibrated_on(cells, monkeypatch) -> None:
    asked: list[tuple] = []

    def generated(model, n, seed, iterations, *rest) -> torch.Tensor:
        asked.append((n, iterations))
        return torch.zeros(n, 3, 64, 64)

    monkeypatch.setattr("vitq_core.experiment.generated.generate_images", generated)
    assert cells[3].work()["n"] == 16 and asked == [(2, 10)]


def test_it_stops_when_told_to(cells) -> None:
    with pytest.raises(vq.Cancelled):
        cells[1].work(None, lambda: True)


@pytest.mark.parametrize(
    "changed", [Asked(limit=17), Asked(limit=16, seed=1), Asked(limit=16, calibration=3)], ids=str
)
def test_what_changes_the_numbers_changes_the_key(demo, cells, changed: Asked) -> None:
    def keys(asked: Asked, about: str = "scenes", table: Table = TABLE) -> list[str]:
        return [cell.key for cell in cells_of(table, ["demo-vit"], lambda name: None, asked, about)]

    same = [cell.key for cell in cells[:4]]
    assert keys(TRIAL) == same and len(set(same)) == 4
    assert not set(keys(changed)) & set(same) and not set(keys(TRIAL, "photographs")) & set(same)
    wider = replace(TABLE, rows=(replace(ROWS[0], bits=6), *ROWS[1:]))
    assert [new == old for new, old in zip(keys(TRIAL, table=wider), same, strict=True)] == [
        True, False, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "pictures"),
    [(Asked(), 16), (Asked(limit=64), 8), (Asked(limit=4), 1), (Asked(limit=4, calibration=5), 5)],
)
def test_a_trial_calibrates_on_an_eighth_of_its_limit_at_most(asked: Asked, pictures: int) -> None:
    assert asked.pictures(ROWS[1]) == pictures


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"calibration": 1.5}, {"seed": "0"}])
def test_numbers_that_are_none_are_a_sentence(wrong: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be a whole number"):
        Asked(**wrong)


def test_what_is_measured_stands_beside_what_is_printed() -> None:
    cells = cells_of(TABLE, ["deit_small"], lambda name: None, Asked(), "")
    results = {cells[0].key: {"top1": 0.8}, cells[1].key: {"top1": 0.712}, cells[2].key: {"top1": None}}
    found = list(entries(TABLE, cells, results))
    assert [entry.model for entry in found] == ["DeiT-S"] * 4
    assert found[0].published == 79.85 and found[0].deviation == pytest.approx(0.15)
    assert found[1].measured == pytest.approx(71.2) and found[1].deviation == pytest.approx(1.2)
    assert found[2].measured is None and found[2].deviation is None  # without labels
    assert found[3].result is None and found[3].measured is None  # not yet there


def test_options_take_the_place_of_a_rows_own() -> None:
    adfq = next(row for row in TABLES["adfq"].rows if row.recipe == "adfq")
    assert adfq.made().options.effort == "paper" and adfq.made(effort="none").options.effort == "none"
