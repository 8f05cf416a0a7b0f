"""The published checkpoints are described as the package builds them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from segment_anything import sam_model_registry

from vitq_core.models.sam.published import PUBLISHED, Published, published_as


@pytest.mark.parametrize("item", PUBLISHED, ids=lambda item: item.size)
def test_a_published_one_is_as_the_package_builds_it(item: Published) -> None:
    with torch.device("meta"):
        theirs = sam_model_registry[item.size]()
    assert item.params == sum(value.numel() for value in theirs.parameters())
    assert published_as(item.size) is published_as(item.id) is item
    assert len(bytes.fromhex(item.sha256)) == 32 and item.size in item.file


def test_files_may_come_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = PUBLISHED[0]
    monkeypatch.delenv("VITQ_SAM_URL", raising=False)
    assert item.address == "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth"
    monkeypatch.setenv("VITQ_SAM_URL", "http://mirror/sam/")
    monkeypatch.setenv("VITQ_HOME", str(tmp_path))
    assert item.address == "http://mirror/sam/sam_vit_b_01ec64.pth"
    assert item.path == tmp_path / "sam" / "sam_vit_b_01ec64.pth"
    assert published_as("vit_x") is None
