"""Tiny Segment Anythings to offer: what is tested is the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import vitq_core as vq
from tests.sam import tiny_sam
from ui.segment.bench import SegmentBench
from ui.workbench import Workbench

TINY, OTHER = "tiny-sam", "other-sam"


def info(model_id: str) -> vq.ModelInfo:
    return vq.ModelInfo(model_id, model_id, "segmentation", 100_000, True, model_id, "A tiny one.")


def tiny_bench(monkeypatch: pytest.MonkeyPatch, home: Path) -> SegmentBench:
    """That offers them, and keeps its files in ``home``."""
    monkeypatch.setenv("VITQ_HOME", str(home))
    stand_in(monkeypatch.setattr)
    return SegmentBench(Workbench())


def stand_in(put: Callable[[Any, str, Any], None]) -> None:
    """Offer them before all others; `put(object, name, value)` sets an attribute."""
    listed, load = vq.list_models(), vq.load_model
    models = {
        name: replace(vq.wrap_model(tiny_sam(seed=seed)), info=info(name))
        for seed, name in enumerate((TINY, OTHER))
    }
    put(vq, "list_models", lambda: [*map(info, models), *listed])
    put(vq, "load_model", lambda name, *args: models.get(name) or load(name, *args))
