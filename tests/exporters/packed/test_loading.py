"""A damaged, foreign or forged folder is refused with a sentence, also where its checksums are right."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import vitq_core as vq
from tests.tampering import as_format, dropped, edited, put, with_tensors
from vitq_core.exporters.packed.container import KEY

WEIGHTS = "model.safetensors"
HUGE = 10**400  # more than any float or index


@pytest.fixture
def saved(model, images, tmp_path) -> Path:
    return vq.save_quantized(vq.quantize(model, images, "repq"), tmp_path / "saved")


def refused(folder: Path, sentence: str) -> None:
    with pytest.raises(vq.VitqError, match=sentence) as error:
        vq.load_quantized(folder)
    assert not set("\n\t") & set(str(error.value)), "one line"


def truncate(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def flip(place: Callable[[bytes], int]) -> Callable[[Path], None]:
    """A bit of the byte at ``place(data)``."""

    def damage(folder: Path) -> None:
        data = bytearray((folder / WEIGHTS).read_bytes())
        data[place(data)] ^= 1
        (folder / WEIGHTS).write_bytes(data)

    return damage


def with_header(metadata: dict[str, str] | None) -> Callable[[Path], None]:
    return lambda folder: save_file(load_file(folder / WEIGHTS), folder / WEIGHTS, metadata)


FILES = {
    "no folder": (shutil.rmtree, r"holds no quantized model: model\.safetensors is missing"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), r"model\.safetensors is missing"),
    "truncated": (truncate, "is damaged"),
    "empty": (lambda f: (f / WEIGHTS).write_bytes(b""), "is damaged"),
    "a bit of a tensor": (flip(lambda data: len(data) - 1), "has another checksum"),
    "a bit of the description": (flip(lambda data: data.index(b"blocks.1.mlp.fc2")), "another checksum than"),
    "no description": (with_header(None), "of different formats"),
    "no checksum": (with_header({KEY: "{}"}), "another checksum than '{}'"),
}


@pytest.mark.parametrize(("damage", "sentence"), FILES.values(), ids=FILES)
def test_a_damaged_file_is_a_sentence(saved, damage, sentence: str) -> None:
    vq.load_quantized(saved)
    damage(saved)
    refused(saved, sentence)


def test_what_people_read_may_be_gone(saved) -> None:
    for name in ("vitq.json", "README.md"):
        (saved / name).unlink()
    vq.load_quantized(saved)


BESIDE = {
    "no description": (lambda f: (f / "vitq.json").unlink(), r"vitq\.json is missing"),
    "no json": (lambda f: (f / "vitq.json").write_text("{"), "is damaged"),
    "no text": (lambda f: (f / "vitq.json").write_bytes(b"\xff\xfe\x00"), "is damaged"),
    "no table": (lambda f: (f / "vitq.json").write_text("[1, 2]"), r"no table, but \[1, 2\]"),
    "an empty one": (lambda f: (f / "vitq.json").write_text("{}"), "'format' is missing"),
    "deep": (lambda f: (f / "vitq.json").write_text("[" * 100_000), "is damaged"),
}


@pytest.mark.parametrize(("damage", "sentence"), BESIDE.values(), ids=BESIDE)
def test_a_damaged_description_of_an_earlier_format_is_a_sentence(saved, damage, sentence: str) -> None:
    as_format(2, saved)
    damage(saved)
    refused(saved, sentence)


CONFIG = {
    "class": ("Popen", "no VisionTransformer class 'Popen'"),
    "block": ({"name": "eval", "options": {}}, "no Module class 'eval'"),
    "shell": ("rm", "is damaged"),
    "num_heads": (0, "is damaged"),
    "num_heads ": (5, "is damaged"),
    "global_pool": ("best", "is damaged"),
    "embed_dim": (-16, "is damaged"),
    "embed_dim ": (HUGE, "is damaged"),
    "embed_dim  ": (2**40, "is damaged"),
    "embed_dim   ": (16.5, "is damaged"),
    "embed_dim    ": ("16", "is damaged"),
    "depth": (100_000, r"100000 parts cannot be made of its \d+ tensors"),
    "depth ": (3, "blocks.2.norm1.weight is missing"),
    "depth  ": (1, "blocks.1.* is missing"),
    "depth   ": ([2], "is damaged"),
    "block ": ({"name": "ParallelThingsBlock", "options": {"num_parallel": 10**6}}, "1000000 parts cannot"),
    "mlp_ratio": (4, "is missing|has shape|is not that"),
    "mlp_ratio ": (float("inf"), "config.mlp_ratio must be finite"),
    "mlp_ratio  ": (1e9, "is damaged"),
    "img_size": ([2**20, 2**20], "pos_embed has shape"),
    "patch_size": ([4, 4], "is damaged"),
    "num_classes": (10**9, "is damaged"),
    "reg_tokens": (10**9, "is damaged"),
    "norm": ({"name": "LayerNorm", "eps": "a", "affine": True}, "is damaged"),
    "norm ": ({"name": "LayerNorm", "eps": -1e6, "affine": True}, "not finite"),
}


@pytest.mark.parametrize(("key", "value"), CONFIG.items())
def test_another_architecture_is_a_sentence(saved, key: str, value: tuple) -> None:
    edited(put(value[0], "config", key.strip()))(saved)
    refused(saved, value[1])


DESCRIPTION = {
    "newer": (put(99, "format"), "format 99 is not known to this version, which reads 1, 2, 3"),
    "older": (put(2, "format"), "of different formats"),
    "no format": (put([], "format"), "format .* is not known"),
    "family": (put("resnet", "family"), "unknown model family 'resnet'"),
    "no report": (dropped("report"), "'report' is missing"),
    "size": (put([3, 16, 16.0], "input_size"), "input_size must be a count, got 16.0"),
    "large size": (put([3, 16, 10**6], "input_size"), "input_size must be channels, height and width"),
    "other size": (put([3, 24, 24], "input_size"), r"input_size is \(3, 24, 24\), but the model takes"),
    "channels": (put([1, 16, 16], "input_size"), "input_size is"),
    "bits": (put(40, "recipe", "weight_bits"), "must be a whole number from 2 to 8"),
    "other bits": (put(5, "recipe", "weight_bits"), "codes has shape"),
    "bits again": (put(3, "quantizers", "head:weight", "bits"), "the recipe gives head:weight 4 bits, its"),
    "bits in a row": (put(3, "report", "sites", 0, "bits"), "the recipe gives .* bits, the report says 3"),
    "rules": (put("unifrom", "recipe", "rules", "*", "quantizer"), "unknown quantizer 'unifrom'"),
    "rule's options": (put({"axis": "a"}, "recipe", "rules", "*", "options"), "axis must be a whole number"),
    "title": (put(3, "recipe", "title"), "title must be text"),
    "pass": (put(["fly"], "recipe", "passes"), "fly"),
    "fewer layers": (dropped("layers", 1), "the quantizers are not those of the layers"),
    "twice a layer": (lambda d: d["layers"].append(d["layers"][0]), "names? and sites of their own"),
    "a layer's name": (put("head2", "layers", 0, "name"), "sites of their own"),
    "role": (put("key", "layers", 0, "sites", 0, "role"), "its layer patch_embed.proj is not that"),
    "parameters": (put(HUGE, "layers", 0, "params"), "must be a count"),
    "macs": (put(-1, "layers", 0, "macs"), r"layers.macs must be a count, got -1"),
    "no settings": (dropped("quantizers", "head:weight"), "the quantizers are not those"),
    "setting": (
        put("a", "quantizers", "head:weight", "sqnr_db"),
        "quantizer of head:weight: sqnr_db must be",
    ),
    "axis": (put(True, "quantizers", "head:weight", "axis"), "axis must be a whole number"),
    "range": (put("all", "quantizers", "head:weight", "range"), "range must be one of"),
    "base": (put(0, "quantizers", "blocks.0.attn.matmul2:input", "base"), "base must be a number above 1"),
    "rows": (dropped("report", "sites", 0), "is damaged"),
    "a row": (put("head", "report", "sites", 0, "layer"), "rows of the report are not those"),
    "report's field": (put(1, "report", "extra"), "report has an unknown field 'extra'"),
    "report's type": (put(None, "report", "seconds"), "report.seconds must be a number, got None"),
    "report's size": (put(0.0, "report", "size_mb"), "sizes in the report must be above 0"),
    "labels": (
        put({"labels": ["a"], "preprocessing": {"size": [16, 16]}}, "source"),
        "5 classes but 1 labels",
    ),
    "no source": (put("memory", "source"), "is damaged"),
    "origin": (
        put({"labels": None, "preprocessing": {"size": [16, 16]}, "from": 3}, "source"),
        "source.from",
    ),
    "a narrow crop": (
        put({"labels": None, "preprocessing": {"size": [16, 16], "crop_pct": 1e-9}}, "source"),
        "crop_pct must be at least",
    ),
    "no deviation": (
        put({"labels": None, "preprocessing": {"size": [16, 16], "std": [1e-300] * 3}}, "source"),
        "is damaged",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), DESCRIPTION.values(), ids=DESCRIPTION)
def test_another_description_is_a_sentence(saved, change, sentence: str) -> None:
    edited(change)(saved)
    refused(saved, sentence)


ROWS = "head:weight.scale"
TENSORS = {
    "no norm": (dropped("blocks.0.norm1.weight"), "blocks.0.norm1.weight is missing"),
    "no scale": (dropped("head:input.scale"), "head:input.scale is missing"),
    "no codes": (dropped("head:weight.codes"), "head:weight.codes is missing"),
    "fewer codes": (
        lambda t: t.update({"head:weight.codes": t["head:weight.codes"][:-4].clone()}),
        r"head:weight.codes has shape \(36,\)",
    ),
    "norm's shape": (put(torch.zeros(3), "norm.bias"), r"norm.bias has shape \(3,\)"),
    "norm's type": (
        put(torch.zeros(16, dtype=torch.int64), "norm.bias"),
        "torch.int64 in place of .* and torch.f",
    ),
    "unknown type": (put(torch.zeros(16, dtype=torch.float64), "norm.bias"), "norm.bias is of type F64"),
    "codes' type": (
        lambda t: t.update({"head:weight.codes": t["head:weight.codes"].to(torch.int16)}),
        "in place of .* and torch.uint8",
    ),
    "a new bias": (put(torch.zeros(3), "head.scale"), "head.scale is no tensor of this model"),
    "foreign": (put(torch.zeros(3), "forward"), "forward is no tensor of this model"),
    "foreign module": (put(torch.zeros(3), "os.path"), "os.path is no tensor of this model"),
    "NaN": (lambda t: t["norm.bias"].fill_(float("nan")), "norm.bias holds NaN or infinite values"),
    "infinite": (lambda t: t[ROWS][0].fill_(float("inf")), "head:weight: scale holds NaN or infinite values"),
    "negative": (lambda t: t[ROWS].neg_(), "scale holds values that are not above 0"),
    "zero": (lambda t: t[ROWS][0].zero_(), "scale holds values that are not above 0"),
    "overflow": (lambda t: t[ROWS].fill_(3e38), "its codes stand for values that are not finite"),
    "overflow later": (
        lambda t: t["patch_embed.proj.bias"].fill_(3e38),
        "answer to a random picture is not finite",
    ),
    "scale's shape": (put(torch.ones(1, 16, 1), ROWS), r"scale has shape \(1, 16, 1\), for a tensor of"),
    "more scales": (put(torch.ones(5, 15), ROWS), r"scale has shape \(5, 15\)"),
    "a scale a picture": (
        put(torch.ones(2, 1), "head:input.scale"),
        r"shape \(2, 1\), for a tensor of \(1, 16",
    ),
    "no scales": (put(torch.ones(0), "head:input.scale"), r"scale has shape \(0,\)"),
}


@pytest.mark.parametrize(("change", "sentence"), TENSORS.values(), ids=TENSORS)
@pytest.mark.parametrize("number", [2, 3])
def test_other_tensors_are_a_sentence(saved, number: int, change, sentence: str) -> None:
    """In the earlier format too, which has no checksums."""
    if number == 2:
        as_format(2, saved)
    with_tensors(change)(saved)
    refused(saved, sentence)


def test_a_part_of_a_head_that_no_file_may_name(tiny, pictures, tmp_path) -> None:
    model = tiny()
    model.head = nn.Sequential(nn.Dropout(), nn.Linear(16, 3))
    vq.save_quantized(vq.quantize(model, pictures(model), "minmax"), tmp_path)
    edited(put("Popen", "config", "heads", "head", "parts", "0", "name"))(tmp_path)
    with pytest.raises(vq.VitqError, match=r"no head has a part 'Popen'; known: .*Linear"):
        vq.load_quantized(tmp_path)


@pytest.mark.parametrize("number", [1, 2])
def test_a_file_of_an_earlier_format_is_read(saved, images, number: int) -> None:
    now = vq.load_quantized(saved)
    as_format(number, saved)
    before = vq.load_quantized(saved)
    assert before.report == now.report and before.recipe == now.recipe and before.bits == now.bits
    assert torch.equal(before(images), now(images))
    written = json.loads((saved / "vitq.json").read_text())
    assert ("bits" in written["quantizers"]["head:weight"]) == (number == 1)
    again = json.loads((vq.save_quantized(before, saved) / "vitq.json").read_text())
    assert "bits" not in again["quantizers"]["head:weight"] and again["format"] == 3
