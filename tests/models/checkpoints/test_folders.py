"""Every tensor of a folder's file is the model's, or a sentence says which is not."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

import vitq_core as vq

from .files import ARCHITECTURE, SWIN, net, pictures, same, save_folder, state

Table = dict[str, Tensor]
GAP = "vit_base_patch16_siglip_gap_224"  # an architecture for which timm's loader passes over what is missing


@pytest.mark.parametrize(
    ("architecture", "prefix"),
    [
        *((ARCHITECTURE, prefix) for prefix in ("", "module.", "_orig_mod.", "model.", "backbone.")),
        *((ARCHITECTURE, prefix) for prefix in ("timm_model.", "state_dict.", "module.encoder.")),
        (GAP, "backbone."),
        (SWIN, "backbone."),
    ],
)
def test_what_stands_before_every_name_is_taken_off(tmp_path: Path, architecture: str, prefix: str) -> None:
    module = net(architecture)
    folder = save_folder(tmp_path / "own", state(module, prefix), architecture)
    assert same(vq.load_model(folder).module, module, 32 if architecture == SWIN else 16)


def test_nothing_is_left_as_it_was_drawn(tmp_path: Path) -> None:
    """Also where timm's own loader does not mind: two loads would give two models."""
    tensors = {name: value for name, value in state(net(GAP)).items() if "blocks.1" not in name}
    with pytest.raises(
        vq.VitqError, match=r"it lacks 12 tensors of the model \(blocks.1.norm1.weight, .* and 9 more"
    ):
        vq.load_model(save_folder(tmp_path / "own", tensors, GAP))


def without(table: Table, part: str) -> Table:
    return {name: value for name, value in table.items() if part not in name}


def with_one(table: Table, name: str, change: Callable[[Tensor], Tensor]) -> Table:
    return table | {name: change(table[name])}


HEADLESS = {"num_classes": 0}
WRONG: dict[str, tuple[Callable[[Table], Table], dict, str]] = {
    "no name of the model": (
        lambda t: {f"layer{index}": value for index, value in enumerate(t.values())},
        {}, r"no tensor of model.* belongs to .*: it holds layer0, layer1, layer10 and 29 more, the model",
    ),
    "one too many": (
        lambda t: t | {"adapter.weight": torch.zeros(2, 2)},
        {}, r"it has 1 tensor that the model does not have \(adapter.weight\)",
    ),
    "another shape": (
        lambda t: with_one(t, "blocks.0.mlp.fc1.weight", lambda value: value[:5]),
        {}, r"mlp.fc1.weight is 5×24, the model's 96×24. Its shapes are those of a vision transformer with",
    ),
    "beside the prefix": (
        lambda t: {f"backbone.{name}": v for name, v in t.items()} | {"fc.weight": torch.zeros(3, 24)},
        {}, r"it has 1 tensor that the model does not have \(fc.weight\)",
    ),
    "other classes": (
        lambda t: with_one(with_one(t, "head.weight", lambda v: v[:2]), "head.bias", lambda v: v[:2]),
        {}, r"has 2 classes \(head.weight has 2 rows\), but the config.json of .* says 3; with 2 there",
    ),
    "no head": (lambda t: without(t, "head."), {}, r"has 0 classes \(it has no head\), but .* says 3"),
    "a head too many": (lambda t: t, HEADLESS, r"has 3 classes \(head.weight has 3 rows\), but .* says 0"),
    "whole numbers": (
        lambda t: {name: (value * 100).round().to(torch.int8) for name, value in t.items()},
        {}, r"holds whole numbers \(.* is int8\), so it is quantized already; give the full-precision one",
    ),
    "some whole numbers": (
        lambda t: with_one(t, "blocks.1.attn.qkv.weight", lambda v: v.byte()) | {"scale": torch.ones(1)},
        {}, r"holds whole numbers \(blocks.1.attn.qkv.weight is uint8\)",
    ),
    "eight bits": (
        lambda t: {name: value.to(torch.float8_e4m3fn) for name, value in t.items()},
        {}, r"holds float8_e4m3fn numbers \(such as .*\), which mean nothing without scales",
    ),
    "not a number": (
        lambda t: with_one(t, "norm.bias", lambda v: v * torch.nan),
        {}, r"contain values that are not finite numbers \(norm.bias\)",
    ),
    "another size of picture": (
        lambda t: with_one(t, "pos_embed", lambda v: v[:, :3]),
        {}, r"pos_embed is 1×3×24, the model's 1×5×24",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_other_weights_are_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    change, config, said = WRONG[name]
    folder = save_folder(tmp_path / "own", change(state(net())), **config)
    with pytest.raises(vq.VitqError, match=said) as caught:
        vq.load_model(folder)
    assert "\n" not in str(caught.value)


def test_the_number_of_classes_is_the_files_where_nobody_says_another(tmp_path: Path) -> None:
    for classes in (0, 7):
        module = net(num_classes=classes)
        model = vq.load_model(save_folder(tmp_path / str(classes), state(module), num_classes=None))
        assert model.classes == classes and same(model.module, module)


def test_nulls_are_nothing_said(tmp_path: Path) -> None:
    module = net()
    said = {"input_size": [3, 16, 16], "crop_pct": None, "label_names": None, "mean": None}
    config = {"label_names": ["a", "b", "c"], "pretrained_cfg": said, "global_pool": None}
    folder = save_folder(tmp_path / "own", state(module), **config)
    model = vq.load_model(folder)
    assert model.labels == ["a", "b", "c"] and same(model.module, module)
    plain = timm.create_model("test_vit", num_classes=3).eval()
    folder = save_folder(tmp_path / "plain", state(plain, "timm_model."), "test_vit")
    written = json.loads((folder / "config.json").read_text())
    written |= {
        "model_args": None,
        "pretrained_cfg": {"input_size": [3, 160, 160]},
        "model_type": "timm_wrapper",
    }
    (folder / "config.json").write_text(json.dumps(written))
    model = vq.load_model(folder)
    assert same(model.module, plain, 160) and "Resampled" not in model.info.summary, (
        "its positions tell its size"
    )


def test_pictures_are_of_the_size_that_the_model_takes(tmp_path: Path) -> None:
    said = {"input_size": [3, 224, 224], "fixed_input_size": False, "crop_pct": 1.0}
    model = vq.load_model(save_folder(tmp_path / "own", state(net()), pretrained_cfg=said))
    assert model.preprocessing.size == (16, 16)


def test_four_channels_are_refused_plainly(tmp_path: Path) -> None:
    module = net(in_chans=4)
    arguments = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "in_chans": 4}
    with pytest.raises(vq.VitqError, match="takes pictures of 4 channels; only RGB"):
        vq.load_model(save_folder(tmp_path / "own", state(module), model_args=arguments))
    with pytest.raises(
        ValueError, match=r"takes pictures of 4 channels, but .* tensors \[N, 4, height, width\]"
    ):
        vq.wrap_model(module)


def test_a_pre_trainings_decoder_is_left_out_and_said(tmp_path: Path) -> None:
    module = net(num_classes=0)
    decoder = {"mask_token": torch.ones(1, 1, 8), "decoder_pos_embed": torch.ones(1, 5, 8)}
    decoder |= {"decoder_blocks.0.attn.qkv.weight": torch.ones(24, 8), "decoder_pred.bias": torch.ones(9)}
    model = vq.load_model(save_folder(tmp_path / "mae", state(module) | decoder, num_classes=0))
    assert same(model.module, module) and model.info.task == "features"
    assert "Left out, as no answer needs it: " in model.info.summary and "and 1 more." in model.info.summary


def test_positions_of_another_grid_are_resampled_and_said(tmp_path: Path) -> None:
    large = net(img_size=32)
    model = vq.load_model(save_folder(tmp_path / "own", state(large)))
    assert (
        model.module.pos_embed.shape == (1, 5, 24)
        and "Resampled to the model's size: pos_embed." in model.info.summary
    )
    assert torch.equal(model.module.pos_embed[:, 0], large.pos_embed[:, 0]), "the class token has no place"


def test_a_swin_by_its_authors_names(tmp_path: Path) -> None:
    """They merge patches where a stage ends, and store the buffers that timm works out."""
    module = net(SWIN)
    tensors = {
        name.replace("layers.1.downsample", "layers.0.downsample").replace("head.fc.", "head."): value
        for name, value in state(module).items()
    }
    tensors["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(16, 16, dtype=torch.int64)
    tensors["layers.0.blocks.1.attn_mask"] = torch.zeros(16, 16, 16)
    assert same(vq.load_model(save_folder(tmp_path / "own", tensors, SWIN)).module, module, 32)


def test_both_heads_of_a_distilled_deit_are_loaded(tmp_path: Path) -> None:
    name = "deit_tiny_distilled_patch16_224"
    module = net(name)
    assert same(vq.load_model(save_folder(tmp_path / "own", state(module), name)).module, module)
    module = net(name, num_classes=5)
    model = vq.load_model(save_folder(tmp_path / "five", state(module), name, num_classes=None))
    assert model.classes == 5 and same(model.module, module)


def test_weights_in_pickles(tmp_path: Path) -> None:
    module, averaged = net(), net(seed=1)
    folder = save_folder(tmp_path / "own", state(module))
    (folder / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "model.pth"):
        saved = {
            "state_dict": state(module),
            "epoch": 3,
            "optimizer": {"state": {0: {"step": torch.ones(1)}}},
        }
        torch.save(saved | {"args": argparse.Namespace(lr=0.1)}, folder / name)
        model = vq.load_model(folder)
        assert same(model.module, module) and "Its weights are those under state_dict." in model.info.summary
    for key in ("model_ema", "state_dict_ema"):
        torch.save({"model": state(module), key: state(averaged, "module.")}, folder / "model.pth")
        model = vq.load_model(folder)
        assert same(model.module, averaged) and f"those under {key}." in model.info.summary
    torch.save({"model": state(module), "model_ema": {"decay": torch.ones(1)}}, folder / "model.pth")
    assert same(vq.load_model(folder).module, module)


def test_nothing_in_a_pickle_is_run(tmp_path: Path) -> None:
    class Touching:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "touched",)

    folder = save_folder(tmp_path / "own", state(net()))
    (folder / "model.safetensors").unlink()
    torch.save({"model": state(net()), "hook": Touching()}, folder / "model.pth")
    with pytest.raises(vq.VitqError, match=r"could run any program .* save its state_dict\(\) alone"):
        vq.load_model(folder)
    assert not (tmp_path / "touched").exists()


def test_weights_of_several_files_are_named(tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "own", state(net()))
    (folder / "model.safetensors").rename(folder / "model.safetensors.index.json")
    with pytest.raises(vq.VitqError, match=r"are split over several files; save them as one model"):
        vq.load_model(folder)


def test_what_is_loaded_is_its_own_and_can_be_saved(tmp_path: Path) -> None:
    """A mapped file may be written over while the model is used."""
    folder = save_folder(tmp_path / "own", state(net()))
    model = vq.load_model(folder)
    result = vq.quantize(model, pictures(), "repq")
    save_folder(tmp_path / "own", state(net(seed=5)))
    assert same(model.module, net())
    vq.save_quantized(result, tmp_path / "saved")
    assert same(vq.load_quantized(tmp_path / "saved").model, result.model)
