"""Full precision and exports are timed in turns, by as many rounds, and named as people know them."""

from __future__ import annotations

import time

import pytest
import torch

import vitq_core as vq
from vitq_core.exporters import onnx, speed

PRECISE = [speed.FLOAT, speed.BFLOAT, speed.FLOAT_ONNX]


@pytest.fixture
def result(model, images) -> vq.QuantizeResult:
    return vq.quantize(model, images, vq.recipe("minmax", 8, 8))


@pytest.fixture
def certificates(result, images, tmp_path) -> list[vq.Certificate]:
    return [vq.export(result, tmp_path / name, name, images) for name in ("packed", "torch")]


def test_everything_is_timed_at_every_batch_and_loaded_alone(result, certificates) -> None:
    heard: list[float] = []
    threads = torch.get_num_threads()
    found = vq.measure_speed(
        result, certificates, (1, 3), (1,), 3, progress=lambda share, _: heard.append(share)
    )
    titles = [*PRECISE, "Packed", "PyTorch"]
    assert [row.what for row in found.speeds] == 2 * titles and found.skipped == {}
    assert {(row.batch, row.threads) for row in found.speeds} == {(1, 1), (3, 1)}
    assert all(0 < row.low <= row.median <= row.high for row in found.speeds)
    assert [row.what for row in found.loading] == titles
    assert all(row.seconds > 0 for row in found.loading)
    assert heard == sorted(heard) and heard[-1] == 1 and torch.get_num_threads() == threads
    assert found.to_json()["speeds"][0]["what"] == speed.FLOAT


def test_what_is_slower_is_found_slower(result) -> None:
    asked: list[int] = []

    def slow(threads: int) -> speed.Run:
        asked.append(threads)
        return lambda images: time.sleep(0.05)

    def quick(threads: int) -> speed.Run:
        return lambda images: time.sleep(0.005)

    found = vq.measure_speed(result, [], (2,), (1, 2), 5, also={"slow": slow, "quick": quick}, loading=False)
    assert asked == [1, 2] and found.loading == ()
    assert 2 < found.ratio("quick", "slow", 2, 1) < 11


def test_a_runtime_that_is_missing_is_left_out_and_named(result, monkeypatch) -> None:
    monkeypatch.setattr(onnx.Onnx, "needs", {"a-runtime": "no_such_module"})
    found = vq.measure_speed(result, [], (1,), (1,), 1, loading=False)
    assert [row.what for row in found.speeds] == PRECISE[:2]
    assert "pip install a-runtime" in found.skipped[speed.FLOAT_ONNX]


@pytest.mark.parametrize("wrong", [{"batches": (0,)}, {"threads": (1.5,)}, {"rounds": 0}])
def test_numbers_that_are_none_are_a_sentence(result, wrong: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be a whole number of at least 1"):
        vq.measure_speed(result, [], **wrong)


def test_it_stops_when_told_to(result) -> None:
    with pytest.raises(vq.Cancelled):
        vq.measure_speed(result, [], (1,), (1,), cancel=lambda: True)


def test_the_plain_model_is_full_precisions(model, images, result) -> None:
    plain = result.model.vitq.plain_model()
    with torch.no_grad():
        assert torch.allclose(plain(images), model(images), atol=1e-4)
    assert not any("Parametrized" in type(part).__name__ for part in plain.modules())
    assert any("Parametrized" in type(part).__name__ for part in result.model.modules())
