"""PSAQ-ViT's own quantizer on the tiny model of tests/golden: ranges and logits of the authors' own code."""

import pytest
import torch

import vitq_core as vq

from .test_golden_fq import NAMES, TOLERANCE, distance

GOLDEN = "psaq.npz"


@pytest.mark.parametrize("bits", [(8, 8), (4, 8), (6, 6), (4, 4)])
def test_published_logits(golden_model, golden, bits: tuple[int, int]) -> None:
    result = vq.quantize(golden_model, golden["calib"], vq.recipe("psaq", *bits))
    prefix = f"psaq.w{bits[0]}a{bits[1]}"
    with torch.no_grad():
        assert distance(result(golden[f"{prefix}.x"]), golden[f"{prefix}.logits"]) < TOLERANCE
    assert distance(golden[f"{prefix}.fp_logits"], golden[f"{prefix}.logits"]) > 10 * TOLERANCE


def test_published_ranges(golden_model, golden) -> None:
    simulation = vq.quantize(golden_model, golden["calib"], vq.recipe("psaq", 8, 8)).model.vitq
    sites = {str(site): simulation.quantizer(site) for site in simulation.sites()}
    named = {
        name.replace("patch_embed.qact", "patch_embed.QuantAct").replace("mlp.qact", "mlp.QuantAct"): ours
        for name, ours in NAMES.items()
    }
    assert {f"psaq.range.{name}" for name in named} == {k for k in golden if k.startswith("psaq.range.")}
    for name, ours in named.items():
        low, high = golden[f"psaq.range.{name}"]
        scale = (high - low) / 255
        torch.testing.assert_close(sites[ours].scale.reshape(()), scale, rtol=1e-5, atol=0)
        assert float(sites[ours].zero_point) == float((-low / scale).round()), name


def test_attention_values_stay_exact_and_the_report_says_so(golden_model, golden) -> None:
    result = vq.quantize(golden_model, golden["calib"], vq.recipe("psaq", 4, 4))
    assert "blocks.0.attn.matmul2:input" in result.report.kept_float
    rows = {f"{row.layer}:{row.tensor}": row for row in result.report.sites}
    assert rows["blocks.0.attn.matmul2:input"].effective_bits == 32
    assert rows["blocks.0.add1:output"].bits == 4 and rows["blocks.0.add1:output"].role == "stream"
    assert result.report.effective_act_bits > result.report.avg_act_bits
