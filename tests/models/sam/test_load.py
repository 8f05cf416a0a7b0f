"""Files of weights become a Segment Anything, whole and in float32, or a sentence."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import vitq_core as vq
from vitq_core.common.sam_shape import VIT_B, SamShape
from vitq_core.models.sam.load import read_sam, read_sam_folder

from ...sam import tiny_sam
from .files import PLAIN, same_weights, save_folder, save_pickle, weights

Table = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> Table:
    return weights(tiny_sam(PLAIN))


def prefixed(table: Table, prefix: str) -> Table:
    return {prefix + key: value for key, value in table.items()}


WAYS: dict[str, Callable[[Table], object]] = {
    "as published": lambda table: table,
    "a training's": lambda table: {"model": table, "optimizer": {"lr": 0.1, "state": {}}, "epoch": 3},
    "with arguments": lambda table: {"model": table, "args": argparse.Namespace(lr=0.1)},
    "lightning's": lambda table: {"state_dict": prefixed(table, "sam."), "global_step": 9},
    "parallel": lambda table: prefixed(table, "module."),
    "both": lambda table: prefixed(table, "module.sam."),
    "half": lambda table: {key: value.half() for key, value in table.items()},
    "brain floats": lambda table: {key: value.bfloat16() for key, value in table.items()},
    "double": lambda table: {key: value.double() for key, value in table.items()},
    "parameters": lambda table: {key: torch.nn.Parameter(value) for key, value in table.items()},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_save_weights_is_read(tmp_path: Path, state: Table, way: str) -> None:
    sam = read_sam(save_pickle(tmp_path / "sam.pth", WAYS[way](state)), "it", {})
    rounded = {"half": torch.float16, "brain floats": torch.bfloat16}.get(way, torch.float32)
    assert same_weights(sam, {key: value.to(rounded) for key, value in state.items()})
    assert not sam.training and not any(value.requires_grad for value in sam.parameters())
    assert {value.dtype for value in [*sam.parameters(), *sam.buffers()]} == {torch.float32}
    assert not any(value.is_meta for value in [*sam.parameters(), *sam.buffers()])


def test_what_is_read_computes_what_was_saved(tmp_path: Path, state: Table) -> None:
    sam, read = tiny_sam(PLAIN), read_sam(save_pickle(tmp_path / "sam.pth", state), "it", {})
    generator = torch.Generator().manual_seed(0)
    record = {
        "image": torch.rand(3, 96, 128, generator=generator) * 255,
        "original_size": (96, 128),
        "boxes": torch.tensor([[10.0, 10.0, 90.0, 80.0]]),
    }
    ours, theirs = (model([record], multimask_output=True)[0] for model in (read, sam))
    assert torch.equal(ours["low_res_logits"], theirs["low_res_logits"])


@pytest.mark.parametrize("old", [False, True])
def test_the_end_of_the_name_does_not_matter(tmp_path: Path, state: Table, old: bool) -> None:
    path = tmp_path / ("model.safetensors" if old else "sam.pth")
    if old:
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        save_file(state, path)
    assert same_weights(read_sam(path, "it", {}), state)


def test_weights_do_not_hang_together(tmp_path: Path, state: Table) -> None:
    """Two entries of one file may be one tensor; changing one must not change the other."""
    key = "image_encoder.blocks.{}.norm1.weight"
    state = state | {key.format(1): state[key.format(0)]}
    sam = read_sam(save_pickle(tmp_path / "sam.pth", state), "it", {})
    with torch.no_grad():
        sam.image_encoder.blocks[0].norm1.weight.zero_()
    assert torch.equal(sam.image_encoder.blocks[1].norm1.weight, state[key.format(1)])


def with_one(table: Table, key: str, change: Callable[[Tensor], Tensor]) -> Table:
    return table | {key: change(table[key].clone())}


def renamed(table: Table, old: str, new: str) -> Table:
    return {key.replace(old, new): value for key, value in table.items()}


BIAS = "mask_decoder.iou_prediction_head.layers.0.bias"
WRONG: dict[str, tuple[Callable[[Table], object], str]] = {
    "sam 2": (
        lambda t: {"model": renamed(renamed(t, "mask_decoder.", "sam_mask_decoder."), "blocks.", "trunk.")},
        "it holds SAM 2, another architecture; what can be loaded is the first Segment Anything",
    ),
    "sam 3": (lambda t: renamed(t, "image_encoder.", "detector.backbone.vision_backbone."), "holds SAM 3"),
    "hq-sam": (
        lambda t: t | {"mask_decoder.hf_token.weight": torch.zeros(1, 256)},
        "it holds HQ-SAM, whose mask decoder has more parts",
    ),
    "mobile sam": (
        lambda t: renamed(t, "patch_embed.proj.", "patch_embed.seq.0.c."),
        "it holds MobileSAM, whose image encoder is a TinyViT",
    ),
    "edge sam": (lambda t: renamed(t, "encoder.blocks.", "encoder.features."), "holds another image encoder"),
    "transformers": (
        lambda t: {"shared_image_embedding.positional_embedding": t[BIAS]},
        "as the transformers library stores it",
    ),
    "adapters": (
        lambda t: t | {"image_encoder.blocks.0.adapter.weight": torch.zeros(2, 2)},
        "it has 1 weights that Segment Anything does not have, such as image_encoder.blocks.0.adapter.weight",
    ),
    "a part": (
        lambda t: {key: value for key, value in t.items() if "mask_downscaling.0" not in key},
        "it lacks 2 of Segment Anything's weights, such as prompt_encoder.mask_downscaling.0.bias",
    ),
    "an encoder alone": (
        lambda t: {key: value for key, value in t.items() if key.startswith("image_encoder")},
        "it has no prompt_encoder and no mask_decoder but image_encoder.",
    ),
    "another model": (lambda t: {"fc.weight": t[BIAS]}, "it holds no Segment Anything: .* but fc.weight"),
    "two prefixes": (
        lambda t: prefixed(t, "teacher.") | prefixed(t, "student."),
        "it holds no Segment Anything",
    ),
    "another size": (
        lambda t: with_one(t, BIAS, lambda value: value[:3]),
        rf"{BIAS} of it has the size \[3\], not \[32\]",
    ),
    "not a number": (
        lambda t: with_one(t, BIAS, lambda value: value.fill_(torch.nan)),
        "the weights of it contain values that are not finite numbers",
    ),
    "too large": (
        lambda t: with_one(t, BIAS, lambda value: value.double().fill_(1e300)),
        "contain values that are not finite numbers",
    ),
    "integers": (
        lambda t: with_one(t, BIAS, lambda value: value.to(torch.int8)),
        f"{BIAS} of it holds torch.int8 and no plain floating-point numbers",
    ),
    "no tensors": (lambda t: {"epoch": 3}, "the file holds no tensors by name; save one state_dict"),
    "a list": (lambda t: [t[BIAS]], "the file holds no tensors by name"),
    "two models": (lambda t: {"model": t, "state_dict": t}, "the file holds several tables of tensors"),
    "objects": (
        lambda t: {"model": t, "args": Path("runs")},
        "come with more than tensors, which could run any program .* save its state_dict",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_other_weights_are_refused_in_a_sentence(tmp_path: Path, state: Table, name: str) -> None:
    make, said = WRONG[name]
    refused(save_pickle(tmp_path / "sam.pth", make(state)), said)


def refused(path: Path, said: str) -> None:
    with pytest.raises(vq.VitqError, match=said) as caught:
        read_sam(path, "it", {})
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (lambda data: data[: len(data) // 2], "damaged or incomplete .its end is missing.; get the"),
    "empty": (lambda data: b"", "neither of torch nor of safetensors: it is empty"),
    "a web page": (lambda data: b"<!DOCTYPE html>" * 99, "perhaps a web page was saved instead"),
    "another zip": (lambda data: b"PK\x05\x06" + bytes(18), "neither of torch nor of safetensors"),
    "a broken pickle": (lambda data: b"\x80\x02}q\x00X", "damaged or incomplete|more than tensors"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_files_are_refused_in_a_sentence(tmp_path: Path, state: Table, name: str) -> None:
    harm, said = DAMAGES[name]
    path = save_pickle(tmp_path / "sam.pth", state)
    path.write_bytes(harm(path.read_bytes()))
    refused(path, said)


@pytest.mark.parametrize("form", ["zip", "old", "safetensors"])
def test_any_damage_gives_a_sentence_or_a_model(tmp_path: Path, form: str) -> None:
    state, path = weights(tiny_sam(replace(PLAIN, depth=1, global_blocks=(0,)))), tmp_path / "weights"
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    data, rng = path.read_bytes(), random.Random(0)
    for _ in range(40):
        harmed, ends = bytearray(data), (range(4000), range(len(data) - 4000, len(data)))
        for place in rng.choices(rng.choice(ends), k=3):
            harmed[place] = rng.randrange(256)
        path.write_bytes(harmed[: rng.choice((len(data), rng.randrange(len(data))))])
        try:
            read_sam(path, "it", {})
        except vq.VitqError as error:
            assert "\n" not in str(error) and len(str(error)) < 450


def test_a_zip_of_several_disks_is_refused(tmp_path: Path, state: Table) -> None:
    data = bytearray(save_pickle(tmp_path / "sam.pth", state).read_bytes())
    locator = data.rindex(b"PK\x06\x07")
    data[locator + 4] = data[locator + 16] = 9
    (tmp_path / "sam.pth").write_bytes(data)
    refused(tmp_path / "sam.pth", "damaged or incomplete")


def test_a_truncated_safetensors_file_is_refused(tmp_path: Path, state: Table) -> None:
    path = tmp_path / "sam.safetensors"
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "damaged or incomplete")
    refused(tmp_path, "cannot be opened: Is a directory")


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    class Touching:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "touched",)

    refused(save_pickle(tmp_path / "sam.pth", {"model": Touching()}), "could run any program")
    assert not (tmp_path / "touched").exists()


def test_a_file_of_another_size_is_refused_where_one_is_expected(tmp_path: Path, state: Table) -> None:
    path = save_pickle(tmp_path / "sam.pth", state)
    with pytest.raises(
        vq.VitqError, match=r"those of a Segment Anything of width 32 and .*; its name says SAM ViT-B"
    ):
        read_sam(path, "it", VIT_B.as_dict(), "its name")


# Folders


def test_a_folder_says_what_weights_do_not(tmp_path: Path) -> None:
    sam = tiny_sam()
    read = read_sam_folder(save_folder(tmp_path / "tiny", sam), "it")
    assert SamShape.of(read) == SamShape.of(sam)
    assert same_weights(read, {key: value.half() for key, value in weights(sam).items()})


SHAPE_FAULTS = {
    "a list": ([3], "the config.json of tiny must hold its shape as a table"),
    "no heads": ({"heads": 5, "relative_positions": True}, "have heads 2; the config.json says 5"),
    "no decoder heads": ({"decoder_heads": 0}, "the shape of it cannot be built: "),
    "odd decoder heads": ({"decoder_heads": 5}, "the shape of it cannot be built: "),
    "a colour": ({"decoder_heads": 2, "mean": [1.0]}, "pixel_mean must be three numbers"),
    "no spread": ({"decoder_heads": 2, "std": [1.0, 0.0, 1.0]}, "std must be three positive numbers"),
    "a word": ({"decoder_heads": "two"}, "the shape of it cannot be built"),
    "nothing": ({}, "do not tell decoder_heads"),
}


@pytest.mark.parametrize("fault", SHAPE_FAULTS)
def test_a_description_that_does_not_fit_is_a_sentence(tmp_path: Path, fault: str) -> None:
    shape, said = SHAPE_FAULTS[fault]
    folder = save_folder(tmp_path / "tiny", tiny_sam(), described=shape)
    with pytest.raises(vq.VitqError, match=said) as caught:
        read_sam_folder(folder, "it")
    assert "\n" not in str(caught.value)


def test_a_folder_without_weights_or_with_those_of_transformers_says_so(tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "tiny", tiny_sam(), model_type="sam", architecture=None)
    save_file({"shared_image_embedding.positional_embedding": torch.zeros(2)}, folder / "model.safetensors")
    with pytest.raises(
        vq.VitqError, match="tiny holds Segment Anything as the transformers library stores it"
    ):
        vq.load_model(folder)
    (folder / "config.json").write_text(json.dumps({"architecture": "segment_anything", "shape": {}}))
    (folder / "model.safetensors").unlink()
    with pytest.raises(vq.VitqError, match=r"has no model.safetensors in"):
        vq.load_model(folder)
