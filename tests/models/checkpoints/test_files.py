"""A file of weights alone: what is given, what the weights tell, and what is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import vitq_core as vq

from ...sam import tiny_sam
from .files import net, pictures, same, save_folder, state

SMALL = "vit_small_patch16_224"
GIVEN = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.2, 0.3), "crop_pct": 0.9, "interpolation": "bilinear"}


def small(size: int = 32, **arguments: object) -> torch.nn.Module:
    """An architecture of timm's as its name says, for small pictures."""
    shape = {"img_size": size, "patch_size": 16, "embed_dim": 192, "depth": 12, "num_heads": 3}
    return net("vit_tiny_patch16_224", **{**shape, **arguments})


TINY = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def module() -> torch.nn.Module:
    return small()


@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".bin", ""])
def test_a_file_is_the_architecture_that_is_given(
    tmp_path: Path, module: torch.nn.Module, ending: str
) -> None:
    path = tmp_path / f"best{ending}"
    save_file(state(module), path) if ending == ".safetensors" else torch.save({"model": state(module)}, path)
    model = vq.load_model(path, architecture=TINY, labels=["cat", "dog", "fish"], **GIVEN)
    assert same(model.module, module, 32) and model.labels == ["cat", "dog", "fish"]
    assert model.preprocessing.size == (32, 32), "the positions tell"
    assert {name: getattr(model.preprocessing, name) for name in GIVEN} == GIVEN
    assert (model.info.id, model.info.task) == (str(path), "classification")


def test_the_size_that_is_given_is_the_models(tmp_path: Path, module: torch.nn.Module) -> None:
    path = tmp_path / "best.pth"
    torch.save(state(module), path)
    model = vq.load_model(path, architecture=TINY, size=48)
    assert model.preprocessing.size == (48, 48) and model.module.pos_embed.shape[1] == 10
    assert "Resampled to the model's size: pos_embed." in model.info.summary
    assert model.preprocessing.mean == vq.wrap_model(module).preprocessing.mean, "as wrap_model takes it"


def test_a_pooled_model_is_pooled(tmp_path: Path) -> None:
    """Fine-tuned masked autoencoders average their patches, and call the last norm fc_norm."""
    module = small(global_pool="avg")
    torch.save({"model": state(module)}, tmp_path / "best.pth")
    assert same(vq.load_model(tmp_path / "best.pth", architecture=TINY).module, module, 32)


def test_a_file_that_nobody_describes_says_what_to_give(tmp_path: Path, module: torch.nn.Module) -> None:
    path = tmp_path / "best.pth"
    torch.save({"model_ema": state(module, "module.")}, path)
    said = (
        r"best.pth has no config.json, and its weights, a vision transformer with patches of 16 pixels, "
        r"width 192, 12 blocks and 3 classes, do not tell the rest: give architecture='vit_tiny_patch16_224'"
    )
    with pytest.raises(vq.VitqError, match=said):
        vq.load_model(path)


REFUSED = {
    "unknown": ({"architecture": "vit_tiny_patch16_242"}, ValueError, "did you mean vit_tiny_patch16_224"),
    "no name": ({"architecture": 3}, ValueError, "architecture must be a name of timm's, got 3"),
    "other shapes": (
        {"architecture": SMALL},
        vq.VitqError,
        "does not fit vit_small_patch16_224 as timm",
    ),
    "labels": ({"architecture": TINY, "labels": ["a"]}, ValueError, "has 3 classes but 1 labels were given"),
    "mean": ({"architecture": TINY, "mean": [1]}, ValueError, "mean must be three finite numbers"),
    "size": (
        {"architecture": TINY, "size": 40},
        ValueError,
        "size is 40×40, which patches of 16×16 pixels do",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_given_and_does_not_fit_is_a_sentence(
    tmp_path: Path, module: torch.nn.Module, name: str
) -> None:
    given, kind, said = REFUSED[name]
    torch.save(state(module), tmp_path / "best.pth")
    with pytest.raises(kind, match=said) as caught:
        vq.load_model(tmp_path / "best.pth", **given)
    assert "\n" not in str(caught.value)


def test_a_config_beside_a_file_describes_it(tmp_path: Path) -> None:
    folder, last = save_folder(tmp_path / "own", state(net())), net(seed=4)
    torch.save(state(last), folder / "last.pth")
    assert same(vq.load_model(folder / "last.pth").module, last)
    model = vq.load_model(folder, labels=["x", "y", "z"], mean=(0.1, 0.2, 0.3))
    assert (model.labels, model.preprocessing.mean, model.preprocessing.std) == (
        ["x", "y", "z"], (0.1, 0.2, 0.3), (0.5, 0.5, 0.5)
    )  # fmt: skip
    with pytest.raises(ValueError, match="size is 32×32, but the model takes 16×16 pixels only"):
        vq.load_model(folder, size=32)


def test_what_is_given_must_count(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="demo-vit says itself what it is; leave out labels, mean, which"):
        vq.load_model("demo-vit", labels=["a"], mean=(0, 0, 0))
    torch.save(tiny_sam().state_dict(), tmp_path / "sam.pth")
    with pytest.raises(ValueError, match=r"Segment Anything has no classes .* leave out labels"):
        vq.load_model(tmp_path / "sam.pth", labels=["a"])


def test_other_files_say_what_they_hold(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.ones(1), "fc.bias": torch.ones(2)}, tmp_path / "resnet.pth")
    with pytest.raises(vq.VitqError, match=r"no vision transformer .* its tensors are conv1.weight, fc.bias"):
        vq.load_model(tmp_path / "resnet.pth")
    torch.save({"vit.embeddings.patch_embeddings.projection.weight": torch.ones(1)}, tmp_path / "hf.bin")
    with pytest.raises(vq.VitqError, match="a model of the transformers library; give its folder"):
        vq.load_model(tmp_path / "hf.bin")


# Before loading


def test_a_form_is_filled_from_a_files_shapes(tmp_path: Path, module: torch.nn.Module) -> None:
    torch.save({"model": state(module), "model_ema": state(module, "module.")}, tmp_path / "best.pth")
    found = vq.describe_file(tmp_path / "best.pth")
    assert (found.family, found.complete, found.patch_size, found.width, found.depth) == (
        "vit",
        False,
        16,
        192,
        (12,),
    )
    assert (found.classes, found.prefix_tokens, found.size, found.channels) == (3, 1, (32, 32), 3)
    assert found.candidates[0] == TINY and "deit_tiny_patch16_224" in found.candidates
    assert found.under == "model_ema.module" and (found.labels, found.mean) == (None, None)
    assert found.params == sum(value.numel() for value in module.state_dict().values())
    for name in found.candidates:
        assert vq.load_model(tmp_path / "best.pth", architecture=name).classes == 3


def test_a_form_is_filled_from_what_lies_beside_a_file(tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "own", state(net()), label_names=["a", "b", "c"])
    for path in (folder, folder / "model.safetensors"):
        found = vq.describe_file(path)
        assert found.complete and found.architecture == TINY and found.labels == ("a", "b", "c")
        assert (found.mean, found.std, found.size, found.depth) == ((0.5,) * 3, (0.5,) * 3, (16, 16), (2,))
    said = {"label_names": '["a", "b", "c"]', "mean": "[0.1, 0.2, 0.3]", "architecture": TINY}
    save_file(state(net()), tmp_path / "alone.safetensors", metadata=said)
    found = vq.describe_file(tmp_path / "alone.safetensors")
    assert (found.architecture, found.labels, found.mean) == (TINY, ("a", "b", "c"), (0.1, 0.2, 0.3))
    assert not found.complete and found.candidates == (), "no architecture of timm's has these shapes"


def test_a_form_of_a_segment_anything_has_nothing_to_ask(tmp_path: Path) -> None:
    torch.save(tiny_sam().state_dict(), tmp_path / "sam.pth")
    found = vq.describe_file(tmp_path / "sam.pth")
    assert (found.family, found.complete, found.candidates) == ("segment_anything", True, ())


def test_what_cannot_be_described_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "page.pth").write_text("<html>" * 9)
    with pytest.raises(vq.VitqError, match="perhaps a web page was saved"):
        vq.describe_file(tmp_path / "page.pth")
    with pytest.raises(ValueError, match=r"there is no file of weights '/nowhere.pth'"):
        vq.describe_file("/nowhere.pth")
    with pytest.raises(ValueError, match="must be the name of a file"):
        vq.describe_file(3)


def test_pictures_of_the_file_are_what_the_model_takes(tmp_path: Path, module: torch.nn.Module) -> None:
    torch.save(state(module), tmp_path / "best.pth")
    model = vq.load_model(tmp_path / "best.pth", architecture=TINY)
    assert vq.quantize(model, pictures(32), "minmax").model(pictures(32)).shape == (2, 3)
