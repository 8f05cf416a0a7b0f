"""The bundled models as they are shipped: what their cards claim, on a small sample."""

import json
import re
from pathlib import Path

import pytest
import torch

from vitq_core.demo.scenes import LABELS
from vitq_core.demo.training.export import accuracy, load
from vitq_core.demo.training.tasks import HELD_OUT_SEED, TASKS, draw_scenes

MODELS = Path(__file__).parents[2] / "assets" / "models"


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda t: t.model)
def test_a_bundled_model_is_what_its_task_describes(task):
    model = load(MODELS / task.model)
    said = task.model_args
    if "depths" in said:
        assert [len(stage.blocks) for stage in model.layers] == list(said["depths"])
        assert model.patch_embed.proj.out_channels == said["embed_dim"]
    else:
        assert (len(model.blocks), model.embed_dim) == (said["depth"], said["embed_dim"])
    size = said["img_size"]
    with torch.no_grad():
        assert model(torch.zeros(1, 3, size, size)).shape == (1, task.num_classes)
    assert (tuple(model.pretrained_cfg["mean"]), tuple(model.pretrained_cfg["std"])) == task.norm
    assert len(model.pretrained_cfg["label_names"]) == task.num_classes
    assert (MODELS / task.model / "model.safetensors").stat().st_size < 12e6


def test_demo_vit_names_scenes_as_its_card_says(tmp_path):
    folder = MODELS / "demo-vit"
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert tuple(config["label_names"]) == LABELS
    card = (folder / "README.md").read_text(encoding="utf-8")
    claimed = float(re.search(r"accuracy\*\*: ([\d.]+)%", card).group(1)) / 100
    scenes = draw_scenes(200, HELD_OUT_SEED, 64, tmp_path)
    assert claimed >= 0.9
    assert abs(accuracy(load(folder), scenes, TASKS["scenes"].norm) - claimed) < 0.05
