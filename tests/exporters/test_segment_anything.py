"""Segment Anything as two graphs: a picture is encoded once, and each question about it decoded."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image

import vitq_core as vq
from tests.sam import picture, records, tiny_sam
from tests.widening import mostly_wide
from vitq_core.exporters.base import EXPORTERS
from vitq_core.pictures.longest_side import LongestSide
from vitq_core.publishing.folder import exported
from vitq_core.tasks.records import LABELS, MASKS, POINTS
from vitq_core.tasks.segmentation import full_masks

FORMATS = ("onnx", "openvino", "torch")


@cache
def quantized(**options: object) -> vq.QuantizeResult:
    return vq.quantize(tiny_sam(), [records(4)], vq.recipe("minmax", 8, 8, **options))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], vq.Certificate]:
    """What every product is quantized of, in a format: recorded once, which takes tens of seconds."""

    @cache
    def export(name: str) -> vq.Certificate:
        return vq.export(quantized(), tmp_path_factory.mktemp(name) / "out", name, [[one] for one in asked()])

    return export


def asked() -> list[dict]:
    """Pictures of several sizes with clicks and boxes, several clicks, and masks alone or with a click."""
    first, second = records(2)
    generator = torch.Generator().manual_seed(3)
    mask = torch.randn(2, 1, 32, 32, generator=generator)
    clicks = 60 * torch.rand(2, 3, 2, generator=generator)
    labels = torch.tensor([[1.0, 0, 1], [1, 1, 0]])
    bare = {name: first[name] for name in ("image", "original_size")}
    return [
        *records(4),
        {**bare, POINTS: clicks, LABELS: labels},
        {**bare, POINTS: clicks, LABELS: labels, MASKS: mask},
        {**bare, MASKS: mask},
        {**second, MASKS: mask[: len(second["boxes"])]},
    ]


@pytest.mark.parametrize("name", mostly_wide(FORMATS, "onnx"))
def test_every_kind_of_question_is_answered_as_by_the_simulation(name, whole) -> None:
    found = whole(name)
    assert found.counts == "prompt" and found.n == 15 and found.packed == 0
    assert found.cosine > 0.9995 and found.agreement_iou > 0.98
    if name == "torch":
        assert found.max_difference == 0
        return
    assert found.integer_nodes == found.promised == len(quantized().model.vitq.layers)
    assert found.max_difference < 4 * found.own_difference


@pytest.mark.parametrize("name", mostly_wide(FORMATS, "onnx"))
def test_both_graphs_belong_to_the_export(name, whole, tmp_path) -> None:
    folder = shutil.copytree(whole(name).path.parent, tmp_path / "out")
    found = replace(whole(name), path=folder / whole(name).path.name)
    assert found.path.stem == "encoder"
    parts = EXPORTERS[name].parts_of(found.path.name)
    assert found.path.with_stem("decoder").name in parts
    assert found.bytes == sum((folder / part).stat().st_size for part in (found.path.name, *parts))
    assert {path.name for path in exported(folder).paths} >= {found.path.name, *parts}
    lines = EXPORTERS[name].lines("user/name", found.path.name).splitlines()
    assert len(lines) == 3 and lines[-1].startswith("encoder, decoder = ")
    compile("\n".join(lines), "lines", "exec")
    decoder = found.path.with_stem("decoder")
    decoder.write_bytes(decoder.read_bytes() + b"\n")
    with pytest.raises(vq.VitqError, match="is not the file"):
        exported(folder)


@pytest.mark.wide
def test_heads_and_one_half_alone_are_written_as_they_are_quantized(tmp_path) -> None:
    for options in ({"heads": 8}, {"parts": ("encoder",)}):
        result = quantized(**options)
        found = vq.export(result, tmp_path / "out", "onnx", [records(2)])
        assert found.integer_nodes == found.promised == len(result.model.vitq.layers)
        assert found.cosine > 0.9995


def test_clicks_are_answered_without_torch(whole, tmp_path) -> None:
    """By the script that lies beside the files, in a process that has none of ours."""
    result, found = quantized(), whole("onnx")
    shown, (x, y) = Image.fromarray(picture(5, 180, 240)), (100.0, 60.0)
    shown.save(tmp_path / "picture.png")
    code = "import sys\nfor name in ('torch', 'timm', 'vitq_core'): sys.modules[name] = None\n"
    code += f"import runpy; sys.argv[:] = ['run_it.py', 'picture.png', '{x}', '{y}']\n"
    code += f"runpy.run_path({str(found.path.with_name('run_it.py'))!r}, run_name='__main__')"
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("mask.png: ")
    bare = subprocess.run([sys.executable, found.path.with_name("run_it.py")], capture_output=True, text=True)
    assert bare.returncode == 1 and bare.stderr.startswith("Answers clicks") and "Trace" not in bare.stderr
    mask = np.asarray(Image.open(tmp_path / "mask.png")) > 0
    small = LongestSide(128)(shown)
    record = {
        "image": small, "original_size": (180, 240), POINTS: torch.tensor([[[x, y]]]) * 128 / 240,
        LABELS: torch.ones(1, 1),
    }  # fmt: skip
    task = result.model.vitq.prepared.task
    with torch.no_grad():
        outputs = task.run(result.model, task.collate([record]))
        expected = full_masks(result.model, record, outputs)[0, outputs["chosen"][0]].numpy()
    assert mask.shape == expected.shape and (mask & expected).sum() > 0.97 * (mask | expected).sum()


def test_the_speed_of_the_encoder_is_measured(whole) -> None:
    report = vq.measure_speed(quantized(), [whole("onnx")], [1, 2], [1], 2, loading=False)
    assert report.graph == "encoder"
    assert {row.what for row in report.speeds} == {
        "PyTorch, 32 bits", "PyTorch, bfloat16", "ONNX Runtime, 32 bits", "ONNX",
    }  # fmt: skip
