"""What is saved loads bit for bit, really packed; damaged, foreign and altered things are refused."""

from collections import OrderedDict
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import vitq_core as vq
from tests.conftest import VARIANTS
from tests.pairs import in_turn
from vitq_core.common.batch import Batch
from vitq_core.models import Preprocessing
from vitq_core.quantized.audit import audit

FILES = {"model.safetensors", "vitq.json", "README.md"}


@pytest.fixture
def saved(model, images, tmp_path) -> Path:
    return vq.save_quantized(vq.quantize(model, images, "repq"), tmp_path / "saved")


def assert_round_trip(result: vq.QuantizeResult, images: torch.Tensor, folder: Path) -> vq.QuantizeResult:
    assert vq.save_quantized(result, folder) == folder
    assert {path.name for path in folder.iterdir()} == FILES
    loaded = vq.load_quantized(folder)
    with torch.no_grad():
        assert torch.equal(loaded(images), result(images))
    audit(loaded.model, Batch((images,)))
    assert loaded.bits == result.bits
    assert loaded.recipe == result.recipe
    assert repr(loaded.report) == repr(result.report)  # its sqnr_db may be nan, which equals nothing
    size = (folder / "model.safetensors").stat().st_size
    header = 8 + int.from_bytes((folder / "model.safetensors").read_bytes()[:8], "little")
    assert size - header == pytest.approx(1e6 * result.report.size_mb, abs=1)
    return loaded


@pytest.mark.parametrize(
    ("variant", "run"),
    in_turn(VARIANTS, [("repq", 3), ("minmax", 4), ("adfq", 3), ("crl", 4)]),
    indirect=["variant"],
    ids=str,
)
def test_round_trip_of_every_variant(variant, pictures, tmp_path, request, calibrating, run: tuple) -> None:
    kind = request.node.callspec.params["variant"]
    (recipe, weight_bits), images = run, pictures(variant, 2)
    result = vq.quantize(variant, images, calibrating(recipe, weight_bits, 4))
    if kind == "gated":
        with pytest.raises(vq.VitqError, match="cannot be saved"):
            vq.save_quantized(result, tmp_path / "saved")
        assert not (tmp_path / "saved").exists()
    else:
        assert_round_trip(result, images, tmp_path / "saved")


OPTIONS = {  # the integer softmax of FQ-ViT does not take few bits
    "adfq": {"alpha_ratio": 0.02, "log_base": 2.0}, "crl": {"collapse": True}, "fq": {"lis": False},
}  # fmt: skip


@pytest.mark.parametrize(("recipe", "bits"), in_turn(vq.RECIPES, [2, 5]))
def test_round_trip_of_every_recipe(model, images, tmp_path, calibrating, recipe: str, bits: int) -> None:
    options = OPTIONS.get(recipe, {})
    mixed = {"blocks.1.mlp.fc2": (3, 7)}
    if any(
        step.startswith("allocate") for step in vq.RECIPES[recipe].passes
    ):  # such a recipe takes all layers or none
        mixed = {**vq.quantize(model, images, vq.recipe("minmax", bits, bits)).bits, **mixed}
    chosen = calibrating(recipe, bits, bits, bits=mixed, **options)
    loaded = assert_round_trip(vq.quantize(model, images, chosen), images, tmp_path / "a" / "b")
    assert_round_trip(loaded, images, tmp_path / "again")
    assert vq.evaluate(loaded.model, [images], reference=model).n == len(images)


def test_weights_are_really_packed(tiny, pictures, tmp_path) -> None:
    model = tiny(embed_dim=256, num_heads=2, depth=2)  # whose description is small beside it
    result = vq.quantize(model, pictures(model, 2), vq.recipe("minmax", 4, 4))
    vq.save_quantized(result, tmp_path)
    share = (tmp_path / "model.safetensors").stat().st_size / (4 * sum(p.numel() for p in model.parameters()))
    assert 1 / 8 < share < 1 / 6
    assert result.report.compression == pytest.approx(1 / share, rel=0.1)


def test_a_deit_small_takes_less_than_a_seventh_of_its_float_file(tiny, pictures, tmp_path) -> None:
    model = tiny(
        img_size=224, patch_size=16, embed_dim=384, depth=12, num_heads=6, mlp_ratio=4, num_classes=1000
    )
    result = vq.quantize(model, pictures(model, 1), vq.recipe("minmax", 4, 4))
    vq.save_quantized(result, tmp_path / "saved")
    save_file(model.state_dict(), tmp_path / "float.safetensors")
    small, large = (tmp_path / name for name in ("saved/model.safetensors", "float.safetensors"))
    assert small.stat().st_size <= large.stat().st_size / 6.8


def test_the_same_result_is_saved_as_the_same_bytes(model, images, tmp_path) -> None:
    result = vq.quantize(model, images, "minmax")
    files = [vq.save_quantized(result, tmp_path / str(n)) / "model.safetensors" for n in range(3)]
    assert len({path.read_bytes() for path in files}) == 1


def test_tensors_lie_in_memory_as_any_others_do(model, images, tmp_path) -> None:
    """Not where the file has them: a product of the same numbers may round otherwise there."""
    vq.save_quantized(vq.quantize(model, images, "minmax"), tmp_path / "saved")
    loaded = vq.load_quantized(tmp_path / "saved").model
    assert all(parameter.data_ptr() % 64 == 0 for parameter in loaded.parameters())


def test_labels_and_preprocessing_survive(model, images, tmp_path) -> None:
    wrapped = vq.wrap_model(model, labels=["Ä", "b", "c", "d", "e"])
    preprocessing = Preprocessing(
        size=(16, 16), crop_pct=0.9, interpolation="nearest", mean=(0.1, 0.2, 0.3), crop_mode="squash"
    )
    wrapped = replace(wrapped, preprocessing=preprocessing)
    vq.save_quantized(vq.quantize(wrapped, images, "percentile"), tmp_path)
    loaded = vq.load_quantized(tmp_path)
    assert loaded.source.labels == wrapped.labels
    assert loaded.source.preprocessing == preprocessing
    assert loaded.source.module is loaded.model
    assert loaded.report.preprocessing == preprocessing.describe()


def test_saving_again_replaces(model, images, tmp_path, calibrating) -> None:
    for recipe in ("repq", "adfq", "minmax"):
        assert_round_trip(vq.quantize(model, images, calibrating(recipe)), images, tmp_path)


def test_loading_leaves_the_random_state(saved) -> None:
    state = torch.get_rng_state()
    vq.load_quantized(saved)
    assert torch.equal(torch.get_rng_state(), state)


def tanh(model: nn.Module) -> None:
    model.blocks[0].mlp.act = nn.GELU(approximate="tanh")


def epsilon(model: nn.Module) -> None:
    model.blocks[1].norm2.eps = 0.1


def scale(model: nn.Module) -> None:
    model.blocks[0].attn.fused_attn = False  # fused, it would not look at the scale
    model.blocks[0].attn.scale = 0.5


def width(model: nn.Module) -> None:
    model.blocks[1].mlp.fc1, model.blocks[1].mlp.fc2 = nn.Linear(16, 20), nn.Linear(20, 16)


@pytest.mark.parametrize("alter", [tanh, epsilon, scale, width])
def test_altered_models_are_refused(model, images, tmp_path, alter) -> None:
    alter(model)
    result = vq.quantize(model, images, vq.recipe("percentile", 8, 8))
    with pytest.raises(vq.VitqError, match="altered after it was built"):
        vq.save_quantized(result, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_an_activation_with_arguments_is_not_lost(tiny, pictures, tmp_path) -> None:
    model = tiny(act_layer=partial(nn.GELU, approximate="tanh"))
    with pytest.raises(vq.VitqError, match="altered"):
        vq.save_quantized(vq.quantize(model, pictures(model), vq.recipe("minmax", 8, 8)), tmp_path)


def test_a_model_that_is_no_longer_quantized_is_refused(model, images, tmp_path) -> None:
    result = vq.quantize(model, images, "repq")
    result.model.head.parametrizations.weight.original.data += 1
    with pytest.raises(vq.VitqError, match="the weight of head changed after it was quantized"):
        vq.save_quantized(result, tmp_path)
    detached = vq.quantize(model, images, "repq")
    detached.model.vitq.detach()
    with pytest.raises(vq.VitqError, match="not quantized as recipe"):
        vq.save_quantized(detached, tmp_path)


def test_only_results_are_saved(model, images, tmp_path) -> None:
    for thing in (model, vq.quantize(model, images, "minmax").model, None):
        with pytest.raises(ValueError, match="save_quantized takes what quantize returned, got"):
            vq.save_quantized(thing, tmp_path)


def test_a_folder_that_cannot_be_written_is_a_sentence(model, images, tmp_path) -> None:
    result = vq.quantize(model, images, "minmax")
    (tmp_path / "file").write_text("")
    with pytest.raises(vq.StorageError, match="cannot be written to") as caught:
        vq.save_quantized(result, tmp_path / "file")
    assert caught.value.public == "the quantized model cannot be written: File exists"
    (tmp_path / "vitq.json").mkdir()
    with pytest.raises(vq.VitqError, match="cannot be written to"):
        vq.save_quantized(result, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {*FILES, "file"}, "no temporary file is left"


def test_a_model_in_training_mode_is_saved_and_stays_so(tiny, pictures, tmp_path) -> None:
    model = tiny(drop_rate=0.5, attn_drop_rate=0.5)
    images = pictures(model)
    result = vq.quantize(model, images, "minmax")
    result.model.train()
    vq.save_quantized(result, tmp_path)
    assert all(module.training for module in result.model.modules())
    with torch.no_grad():
        result.model.eval()
        assert torch.equal(vq.load_quantized(tmp_path)(images), result(images))


def test_a_class_that_computes_something_of_its_own_is_named(tiny, pictures, tmp_path) -> None:
    model = tiny(interleaved=True, depth=2)
    with pytest.raises(vq.VitqError, match="its class Interleaved computes something of its own"):
        vq.save_quantized(vq.quantize(model, pictures(model), "minmax"), tmp_path)


HEADS = {
    "dropout": lambda: nn.Sequential(nn.Dropout(0.1), nn.Linear(16, 3)),
    "two layers": lambda: nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 8), nn.GELU("tanh"), nn.Linear(8, 3)),
    "named": lambda: nn.Sequential(OrderedDict(drop=nn.Dropout(), fc=nn.Linear(16, 3, bias=False))),
    "nested": lambda: nn.Sequential(
        nn.Sequential(nn.Identity(), nn.Linear(16, 9)), nn.ReLU(), nn.Linear(9, 3)
    ),
    "probe": lambda: nn.Sequential(nn.BatchNorm1d(16, affine=False, eps=1e-6), nn.Linear(16, 3)),
}


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_of_several_layers_is_quantized_and_saved(tiny, pictures, tmp_path, kind: str) -> None:
    model = tiny()
    model.head = HEADS[kind]().eval()
    images = pictures(model, 3)
    result = vq.quantize(vq.wrap_model(model), images, vq.recipe("repq", 4, 4))
    linears = {f"head.{n}" for n, part in model.head.named_modules() if isinstance(part, nn.Linear)}
    assert {name for name in result.bits if name.startswith("head")} == linears
    assert not any(name.startswith("head") for name in result.report.kept_float)
    loaded = assert_round_trip(result, images, tmp_path)
    assert loaded.model.num_classes == 3
    assert vq.relevance(model, images).heatmaps.isfinite().all()


def code_of(folder: Path) -> str:
    return (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]


def test_the_readme_loads_the_model_and_a_wrapped_one_knows_its_pictures(
    tiny, pictures, tmp_path, monkeypatch
) -> None:
    module, labels = tiny(), ["a", "b", "c", "d", "e"]
    result = vq.quantize(vq.wrap_model(module, labels), pictures(module), "minmax")
    vq.save_quantized(result, tmp_path / "saved")
    monkeypatch.chdir(tmp_path)
    picture = Image.new("RGB", (30, 20), "red")
    known = {"picture": picture}
    exec(code_of(tmp_path / "saved"), known)
    assert torch.equal(known["output"], result(result.preprocess(picture)[None]))
    assert known["quantized"].labels == result.labels == labels


def test_a_bare_module_has_no_preprocessing_and_its_readme_takes_tensors(
    model, images, saved, monkeypatch
) -> None:
    monkeypatch.chdir(saved.parent)
    known = {"images": images}
    exec(code_of(saved), known)
    loaded = known["quantized"]
    assert torch.equal(known["output"], loaded(images))
    assert loaded.preprocess is None
    assert loaded.labels is None
