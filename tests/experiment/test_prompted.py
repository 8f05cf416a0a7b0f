"""An experiment with Segment Anything: quantized on scenes, compared on scenes and photographs."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

import vitq_core as vq
from tests.sam import tiny_sam
from vitq_core.experiment.prompted import (
    compare_on,
    judging_photographs,
    judging_scenes,
    quantize_on_scenes,
)


def test_a_model_against_itself_agrees() -> None:
    sam = tiny_sam()
    found = compare_on(sam, vq.Segmenter(sam), judging_scenes(3))
    assert found.quantized.box_agreement.mean == 1 and found.quantized.changed_choice.mean == 0
    assert found.full.click_iou == found.quantized.click_iou
    assert found.full.pictures == 3 and not found.signs


def test_a_collapsed_encoder_is_named() -> None:
    sam = tiny_sam()
    torch.nn.init.zeros_(sam.image_encoder.neck[3].weight)
    (sign, *_) = compare_on(tiny_sam(), sam, judging_scenes(1)).signs
    assert "sees the same in different pictures" in sign


def test_scenes_calibrate_by_seed_and_can_be_cancelled() -> None:
    model, recipe = vq.wrap_model(tiny_sam()), vq.recipe("minmax", 6, 6)
    results = [quantize_on_scenes(model, recipe, 2, seed) for seed in (0, 0, 1)]
    states = [result.model.state_dict() for result in results]
    same = [all(torch.equal(states[0][name], other[name]) for name in states[0]) for other in states]
    assert same == [True, True, False]
    assert results[0].report.pictures == 2
    with pytest.raises(vq.Cancelled):
        quantize_on_scenes(model, recipe, 2, cancel=lambda: True)


def test_photographs_judge_as_often_as_they_are_asked(tmp_path) -> None:
    file = tmp_path / "coco.zip"
    with zipfile.ZipFile(file, "w") as archive:
        entries = {"images": [], "annotations": []}
        for number in range(3):
            path = tmp_path / f"{number}.png"
            Image.fromarray(np.full((40, 60, 3), 40 * number, np.uint8)).save(path)
            archive.write(path, path.name)
            entries["images"].append({"id": number, "file_name": path.name, "width": 60, "height": 40})
            outline = {"image_id": number, "id": number, "segmentation": [[5, 5, 30, 5, 30, 30, 5, 30]]}
            entries["annotations"].append(outline)
        archive.writestr("instances.json", json.dumps(entries))
    pictures = judging_photographs(str(file), 2)
    assert len(pictures) == len(list(pictures)) == len(list(pictures)) == 2
    assert len(judging_photographs(str(file), 9)) == 3
    digests = {judging_photographs(str(file), count).digest for count in (1, 2, 2, 3)}
    assert len(digests) == 3 and judging_scenes(1).digest not in digests
    sam = tiny_sam()
    heard = []
    found = compare_on(sam, sam, pictures, lambda done, said: heard.append(done))
    assert found.full.objects == found.full.pictures == 2
    assert heard == sorted(heard)
    assert found.as_results()["full"]["click_iou"] == [found.full.click_iou.mean, found.full.click_iou.error]
    with pytest.raises(ValueError, match=r"no-such"):
        judging_photographs(str(tmp_path / "no-such.zip"), 2)
