"""The whole of it once, in seconds: what must work with the oldest releases that requirements.txt allows.

Not among the tests that pytest collects by itself: `.ci/lowest` names it.
"""

from pathlib import Path

import pytest
import torch

import vitq_core as vq


@pytest.fixture(scope="module")
def model() -> vq.Model:
    return vq.load_model("demo-vit")


@pytest.fixture(scope="module")
def scenes() -> tuple[torch.Tensor, torch.Tensor]:
    """Eight pictures as the model takes them, and their labels."""
    from vitq_core.demo.scenes import scene_batch

    images, labels = scene_batch(range(8), 5, 64)
    return (images - 0.5) / 0.5, labels


@pytest.fixture(scope="module")
def result(model: vq.Model, scenes: tuple[torch.Tensor, torch.Tensor]) -> vq.QuantizeResult:
    return vq.quantize(model, scenes[0], "repq")


def test_quantized_models_are_measured(model, scenes, result):
    adfq = vq.quantize(model, scenes[0], vq.recipe("adfq", effort="quick", iterations=2))
    for made in (result, adfq):
        measured = vq.evaluate(made, [scenes], reference=model)
        assert measured.n == 8 and measured.agreement >= 0.5


def test_pictures_are_preprocessed(model):
    from PIL import Image

    assert model.preprocess(Image.new("RGB", (90, 70), "red")).shape == (3, 64, 64)


def test_layers_are_scored_and_get_bits(model, scenes):
    found = vq.relevance(model, scenes[0])
    table = vq.allocate_bits(found, model, "budget", images=scenes[0], avg_weight_bits=4)
    assert found.heatmaps.shape == (8, 8, 8)
    assert vq.table_cost(table, model).avg_weight_bits <= 4


def test_what_is_saved_is_loaded_again(result, scenes, tmp_path: Path):
    loaded = vq.load_quantized(vq.save_quantized(result, tmp_path / "model"))
    assert torch.equal(loaded(scenes[0]), result(scenes[0]))


def test_segment_anything_is_quantized_and_answers(tmp_path: Path):
    from vitq_core.common.sam_shape import SamShape
    from vitq_core.prompting import calibration_batches, drawn_scenes, measure_prompts

    torch.manual_seed(0)
    sam = SamShape(
        width=32, depth=2, heads=2, global_blocks=(1,), img_size=64, patch_size=8, window=3, prompt_dim=32,
        decoder_mlp=32, decoder_heads=2, iou_width=32,
    ).build()  # fmt: skip
    made = vq.quantize(
        sam, calibration_batches(64, drawn_scenes(4, 64, seed=1)), vq.recipe("vitq", 8, 8, effort="none")
    )
    loaded = vq.load_quantized(vq.save_quantized(made, tmp_path / "sam"))
    assert measure_prompts(loaded, drawn_scenes(2, 64), sam).box_agreement.mean > 0.8


def test_a_swin_is_quantized_explained_and_saved(tmp_path: Path):
    from timm.models.swin_transformer import SwinTransformer

    torch.manual_seed(0)
    swin = SwinTransformer(
        img_size=36, patch_size=2, embed_dim=12, depths=(2, 2, 1), num_heads=(1, 2, 4), window_size=4,
        num_classes=5,
    ).eval()  # fmt: skip
    images = torch.randn(4, 3, 36, 36)
    made = vq.quantize(swin, images, vq.recipe("vitq", 8, 8, effort="none"))
    assert vq.evaluate(made, [images], reference=swin).agreement == 1
    assert vq.relevance(swin, images).pixel_maps.shape == (4, 36, 36)
    loaded = vq.load_quantized(vq.save_quantized(made, tmp_path / "swin"))
    assert torch.equal(loaded(images), made(images))


def test_a_model_that_cannot_be_downloaded_is_a_sentence(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("VITQ_HOME", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(vq.VitqError, match="cannot be reached"):
        vq.load_model("timm/some_model")


def test_the_studio_quantizes_and_draws(monkeypatch, tmp_path: Path):
    from ui import api
    from ui.parts import plots
    from ui.studio import build_studio, theme
    from ui.workbench import Workbench

    monkeypatch.setenv("VITQ_HOME", str(tmp_path))
    bench = Workbench()
    assert "/quantize" in build_studio(bench).get_api_info()["named_endpoints"]
    assert theme().name
    asked = {"model": "demo-vit", "recipe": "minmax", "weight_bits": 4, "act_bits": 4}
    outcome = bench.quantize(api._settings(bench, **asked, calibration=4, held_out=4))
    assert outcome.evaluation.n == 4
    assert plots.sqnr_figure(outcome.result.report.sites).data


def test_the_studio_answers(monkeypatch, tmp_path: Path):
    """Started as app.py starts it, asked as a page does."""
    from urllib.request import urlopen

    from ui.studio import build_studio, theme

    studio = build_studio()
    _, address, _ = studio.launch(prevent_thread_lock=True, quiet=True, theme=theme(), ssr_mode=False)
    try:
        with urlopen(address) as page:
            assert b"VitQ Studio" in page.read()
    finally:
        studio.close()
