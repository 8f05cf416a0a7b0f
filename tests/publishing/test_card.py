"""A model card says what was done and how good it is, with how many pictures, and its lines run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

import vitq_core as vq
from tests.models.hub_models import tiny_files
from tests.models.hub_server import FIRST, HubServer, Repo
from vitq_core.publishing.figures import interval

from .conftest import TOKEN

ROOT = Path(__file__).parents[2]


@pytest.fixture
def labelled(pictures):
    return [(pictures, torch.tensor([0, 1, 2] * 3 + [-1] * 3))]


def written(packed: Path, result: vq.QuantizeResult, *given, **more) -> str:
    return vq.write_model_card(packed, result, *given, **more).read_text()


def test_what_was_done_and_what_came_out_is_on_it(packed, result, source, pictures, labelled) -> None:
    found = vq.evaluate(result.model, labelled, reference=source)
    full = vq.evaluate(source, labelled)
    page = written(
        packed, result, found, full, licence="mit", datasets=("user/cats",), tested_on="cats | dogs",
        calibrated_on="random numbers",
    )  # fmt: skip
    for part in (
        "(`minmax`)", "Bits of weights | 4;", "Bits of activations | 6;", "nothing (no fine-tuning)",
        "| Calibration pictures | 12 |", "| Random seed | 5 |", "The pictures: cats / dogs.",
        "12 pictures (random numbers)", "Measured on few pictures (9)", "In floating point: LayerNorm",
        sha256((packed / "model.safetensors").read_bytes()).hexdigest(), result.report.calibration,
        'vq.load_quantized(snapshot_download("your-name/your-model"))', "quantized.preprocess(picture)",
        f"{(packed / 'model.safetensors').stat().st_size / 1e6:.2f} MB; {result.report.fp32_size_mb:.2f} MB",
    ):  # fmt: skip
        assert part in page, part
    for sentence in vq.Certificate.from_json(_certificate(packed), packed).sentences:
        assert f"- {sentence}" in page
    top1 = next(line for line in page.splitlines() if line.startswith("| Right answers (top-1)"))
    assert top1.endswith("| 9 labelled pictures |") and f"{100 * full.top1:.1f} % (" in top1
    agreement = next(line for line in page.splitlines() if line.startswith("| Same answer as"))
    assert agreement.endswith("| 100 % | 12 pictures |") and f"{100 * found.agreement:.1f} % (" in agreement
    data = ModelCard(page).data
    assert (data.license, data.pipeline_tag, data.library_name) == ("mit", "image-classification", "vitq")
    assert data.datasets == ["user/cats"] and {"quantized", "minmax", "packed"} <= {*data.tags}
    (measured,) = data.eval_results
    assert (measured.metric_type, measured.metric_value) == ("accuracy", round(found.top1, 6))
    assert measured.metric_name == "Right answers (top-1), on 9 labelled pictures"
    assert measured.dataset_args == {"labelled pictures": 9}


def _certificate(folder: Path) -> dict:
    import json

    return json.loads((folder / "certificate.json").read_text())


def test_every_number_of_a_result_has_its_count(packed, result, source, pictures) -> None:
    page = written(packed, result, vq.evaluate(result.model, pictures, reference=source))
    rows = [line for line in _section(page, "Results").splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 2 and all(re.search(r"\| \d+ \w+ \|$", row) for row in rows)


@pytest.mark.parametrize(("right", "count"), [(0, 5), (5, 5), (31, 32), (1, 1000)])
def test_no_share_of_few_pictures_is_certain(right: int, count: int) -> None:
    low, high = interval(right / count, count)
    assert 0 <= low <= right / count <= high <= 1 and high - low > 1.9 / (count + 4)
    z = 1.96  # the ends are the shares that what was seen is 1.96 standard deviations from
    for end in {low, high} - {0.0, 1.0}:
        assert abs(right / count - end) == pytest.approx(z * (end * (1 - end) / count) ** 0.5)


def _section(page: str, title: str) -> str:
    return page.split(f"## {title}\n")[1].split("\n## ")[0]


def test_numbers_of_other_pictures_are_not_compared(packed, result, source, labelled) -> None:
    few = vq.evaluate(source, [(labelled[0][0][:3], labelled[0][1][:3])])
    page = written(packed, result, vq.evaluate(result.model, labelled), few)
    assert "| not measured | 9 labelled pictures |" in page


def test_what_is_not_known_is_said_to_be(result, tmp_path) -> None:
    report = replace(result.report, calibration="", seed=None)
    page = written(vq.save_quantized(result, tmp_path / "saved"), replace(result, report=report))
    for part in ("No test pictures were measured", "Licence | not stated", "Random seed | not kept"):
        assert part in page
    assert "made before a fingerprint of them was kept" in page and "the packed model itself" in page
    data = ModelCard(page).data
    assert data.license is None and data.base_model is None and data.eval_results is None


@pytest.mark.parametrize(
    ("licence", "expected"),
    [("apache-2.0", ("apache-2.0", None)), ("My own, for tests!", ("other", "my-own-for-tests"))],
)
def test_a_licence_of_no_short_name_is_another_one(packed, result, licence, expected) -> None:
    data = ModelCard(written(packed, result, licence=licence)).data
    assert (data.license, data.license_name) == expected


def test_the_base_model_and_its_licence_are_those_of_the_hub(hub: HubServer, tmp_path) -> None:
    hub.repos["user/tiny"] = Repo({FIRST: tiny_files()}, licence="cc-by-4.0")
    model = vq.load_model("hf-hub:user/tiny")
    result = vq.quantize(model, torch.randn(2, 3, 16, 16), "minmax")
    folder = vq.save_quantized(result, tmp_path / "saved")
    assert vq.licence_of(model) == vq.licence_of(vq.load_quantized(folder)) == "cc-by-4.0"
    page = written(folder, vq.load_quantized(folder), licence=vq.licence_of(result))
    data = ModelCard(page).data
    assert (data.base_model, data.base_model_relation) == ("user/tiny", "quantized")
    assert f"[user/tiny](https://huggingface.co/user/tiny), `{FIRST}`" in page
    hub.close()
    assert vq.licence_of(result) is None
    other = ModelCard(written(folder, result, base_model="user/other")).data
    assert other.base_model == "user/other"
    with pytest.raises(ValueError, match="base_model must be a repository of the Hugging Face hub"):
        written(folder, result, base_model="other")


def test_models_of_the_studio_and_of_nowhere(source) -> None:
    assert vq.licence_of(vq.load_model("demo-vit")) == "apache-2.0"
    assert vq.licence_of(source) is None
    named = replace(source, info=replace(source.info, source="models/mine"))
    assert vq.licence_of(named) is None  # a folder, though it looks like a repository


def test_what_is_no_result_or_no_export_is_a_sentence(packed, result, tmp_path) -> None:
    with pytest.raises(ValueError, match="write_model_card takes what quantize returned, got str"):
        vq.write_model_card(packed, "result")
    with pytest.raises(vq.VitqError, match="holds no exported model"):
        vq.write_model_card(tmp_path, result)


def test_its_three_lines_load_the_model_in_a_fresh_process(hub, packed, result, pictures, tmp_path) -> None:
    written(packed, result)
    vq.push_to_hub(packed, "ada/tiny", TOKEN, private=False)
    page = list(hub.repos["ada/tiny"].commits.values())[-1]["README.md"].decode()
    lines = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    assert len(lines.splitlines()) == 3 and "ada/tiny" in lines
    torch.save(pictures, tmp_path / "pictures.pt")
    after = f"import torch\ntorch.save(quantized(torch.load({str(tmp_path / 'pictures.pt')!r})), 'out.pt')"
    (tmp_path / "script.py").write_text(lines + after)
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, tmp_path / "script.py"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=300)
    with torch.no_grad():
        assert torch.equal(torch.load(tmp_path / "out.pt"), result(pictures))
