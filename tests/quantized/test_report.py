"""The report's averages, operations and sizes, counted again by hand."""

import pytest
import torch

import vitq_core as vq

BITS = {"blocks.0.attn.qkv": (3, 5), "blocks.1.attn.matmul1": (None, 8), "head": (8, 6)}


@pytest.fixture
def result(model, images) -> vq.QuantizeResult:
    return vq.quantize(model, images, vq.recipe("percentile", 4, 4, bits=BITS))


def test_averages_and_operations(result) -> None:
    layers = result.model.vitq.layers
    weights = [(bits[0], layers[name].params) for name, bits in result.bits.items() if bits[0]]
    acts = [(bits[1], layers[name].macs, len(layers[name].inputs)) for name, bits in result.bits.items()]
    report = result.report
    assert report.avg_weight_bits == pytest.approx(
        sum(b * n for b, n in weights) / sum(n for _, n in weights)
    )
    average = sum(b * n * k for b, n, k in acts) / sum(n * k for _, n, k in acts)
    assert report.avg_act_bits == pytest.approx(average)
    assert report.effective_act_bits == report.avg_act_bits
    bops = sum(layers[name].macs * (w or a) * a for name, (w, a) in result.bits.items())
    assert report.gbops == pytest.approx(bops / 1e9)
    assert 4 < report.avg_act_bits < 8 and report.avg_weight_bits != 4


def test_rows_are_the_sites(result) -> None:
    simulation = result.model.vitq
    rows = {(row.layer, row.tensor): row for row in result.report.sites}
    assert len(rows) == len(result.report.sites) == len(list(simulation.sites()))
    for site in simulation.sites():
        row, quantizer = rows[site.module, site.tensor], simulation.quantizer(site)
        assert (row.role, row.bits, row.sqnr_db) == (site.role, quantizer.bits, quantizer.sqnr_db)
        assert row.quantizer == "uniform"
        assert 0 < row.sqnr_db < 60
    assert rows["head", "input"].macs == 16 * 5


def test_sizes_and_what_is_kept(result, model, images) -> None:
    report = result.report
    assert report.fp32_size_mb == pytest.approx(4e-6 * sum(p.numel() for p in model.parameters()))
    assert report.compression == report.fp32_size_mb / report.size_mb > 2
    matmul = "blocks.1.attn.matmul1"
    assert report.kept_8bit == (
        "patch_embed.proj:input",
        f"{matmul}:input",
        f"{matmul}:input2",
        "head:weight",
    )
    assert report.kept_float[1:] == ()
    assert "LayerNorm" in report.kept_float[0]
    assert report.pictures == len(images) and 0 < report.seconds < 60
    assert report.recipe == "percentile" and "not known" in report.preprocessing
    everything = vq.quantize(model, images, vq.recipe("percentile", 8, 8)).report
    assert everything.kept_8bit == ()


@pytest.mark.parametrize("recipe", ["repq", "minmax"])
def test_full_precision_size_is_of_the_model_given(tiny, pictures, recipe: str) -> None:
    """Reparameterization adds biases; what the model took before does not change with the recipe."""
    model = tiny(qkv_bias=False, proj_bias=False)
    report = vq.quantize(model, pictures(model), recipe).report
    assert report.fp32_size_mb == pytest.approx(4e-6 * sum(p.numel() for p in model.parameters()))


def test_an_attention_pool_stays_in_floating_point(tiny, pictures) -> None:
    model = tiny(global_pool="map", class_token=False)
    kept = vq.quantize(model, pictures(model), "repq").report.kept_float
    assert {"attn_pool.q", "attn_pool.kv", "attn_pool.proj", "attn_pool.mlp.fc1", "attn_pool.mlp.fc2"} == set(
        kept[1:]
    )


def test_outliers_cost_bits(model, images, calibrating) -> None:
    report = vq.quantize(model, images, calibrating("adfq", alpha=1.0)).report
    rows = [row for row in report.sites if row.role == "post_layernorm"]
    assert len(rows) == 4
    for row in rows:
        assert 0 < row.outlier_ratio < 1
        assert row.effective_bits == pytest.approx(4 + row.outlier_ratio * (16 + 4))  # 16 channels: 4 bits
    assert report.effective_act_bits > report.avg_act_bits
    without = vq.quantize(model, images, calibrating("adfq", alpha=100.0)).report
    assert without.gbops < report.gbops and without.effective_act_bits == without.avg_act_bits


def test_reads_as_a_mapping(result) -> None:
    data = result.report.as_dict()
    assert data["size_mb"] == result.report.size_mb
    assert torch.tensor(data["gbops"]).isfinite()
    assert dict(result.report.sites[0])["layer"] == "patch_embed.proj"
