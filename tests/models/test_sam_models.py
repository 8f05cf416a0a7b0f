"""Segment Anything through `load_model` and `wrap_model`: bundled, from files, downloaded, in memory."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

import vitq_core as vq
from vitq_core.common.sam_shape import SamShape
from vitq_core.models import catalogue
from vitq_core.models.sam import published as published_module
from vitq_core.models.sam.published import PUBLISHED

from ..sam import picture, tiny_sam
from .file_server import FileServer
from .sam.files import PLAIN, same_weights, save_folder, save_pickle, weights
from .test_model import COMMIT, Hub


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VITQ_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "home"


def check_ready(model: vq.Model) -> None:
    """In evaluation mode, float32, without gradients, and said to be what it is."""
    assert isinstance(model.module, Sam) and not model.module.training
    assert {value.dtype for value in model.module.parameters()} == {torch.float32}
    assert not any(value.requires_grad for value in model.module.parameters())
    assert (model.info.task, model.labels, model.classes) == ("segmentation", None, 0)
    assert model.info.params == sum(value.numel() for value in model.module.parameters())


# Bundled


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(catalogue, "BUNDLED_ROOT", tmp_path)
    return tmp_path / "assets" / "models" / "demo-sam"


def test_the_bundled_one_is_listed_where_its_weights_are(shipped: Path) -> None:
    assert not any(info.id == "demo-sam" for info in vq.list_models())
    with pytest.raises(vq.VitqError, match="the weights of demo-sam are missing"):
        vq.load_model("demo-sam")
    save_folder(shipped, tiny_sam())
    (info,) = [info for info in vq.list_models() if info.bundled]
    model = vq.load_model("demo-sam")
    check_ready(model)
    assert model.info == info and (info.id, info.task) == ("demo-sam", "segmentation")
    assert SamShape.of(model.module) == SamShape.of(tiny_sam())


@pytest.mark.parametrize("info", [i for i in vq.list_models() if i.bundled and i.task == "segmentation"])
def test_a_shipped_one_loads(info: vq.ModelInfo) -> None:
    check_ready(vq.load_model(info.id))


# Files and folders


@pytest.mark.parametrize("name", ["mine.pth", "mine.pt", "mine.safetensors", "mine"])
def test_a_file_is_a_model(tmp_path: Path, name: str) -> None:
    path = save_pickle(tmp_path / name, weights(tiny_sam(PLAIN)))
    model = vq.load_model(path)
    check_ready(model)
    assert same_weights(model.module, weights(tiny_sam(PLAIN)))
    assert (model.info.id, model.info.title, model.info.bundled) == (str(path), name, False)
    check_ready(vq.load_model(str(path)))


def test_a_description_beside_a_file_counts(tmp_path: Path) -> None:
    path = save_pickle(tmp_path / "mine.pth", weights(tiny_sam()))
    config = tmp_path / "config.json"
    for other in ("{,", '{"architecture": "vit_tiny_patch16_224"}', "[]"):
        config.write_text(other)
        with pytest.raises(vq.VitqError, match=r"mine\.pth do not tell decoder_heads; put a config.json"):
            vq.load_model(path)
    own = {"decoder_heads": 2, "norm_eps": 1e-5}
    config.write_text(json.dumps({"architecture": "segment_anything", "shape": own}))
    assert SamShape.of(vq.load_model(path).module) == SamShape.of(tiny_sam())


def test_a_folder_is_a_model(tmp_path: Path) -> None:
    model = vq.load_model(save_folder(tmp_path / "tiny", tiny_sam()), device="cpu")
    check_ready(model)
    assert model.info.title == "tiny"
    bare = tmp_path / "bare"
    bare.mkdir()
    save_pickle(bare / "model.pth", weights(tiny_sam(PLAIN)))
    check_ready(vq.load_model(bare))
    save_pickle(bare / "model.pth", weights(tiny_sam()))
    with pytest.raises(vq.VitqError, match=r"bare has no config.json, and without one its .*decoder_heads"):
        vq.load_model(bare)


def test_a_file_that_is_not_there_is_said() -> None:
    for name in ("/nowhere/sam.pth", "sam.safetensors", Path("sam.PT")):
        with pytest.raises(ValueError, match=r"there is no file of weights '.*\.(pth|PT|safetensors)'"):
            vq.load_model(name)


def test_a_file_goes_to_its_device(tmp_path: Path) -> None:
    path = save_pickle(tmp_path / "mine.pth", weights(tiny_sam(PLAIN)))
    assert vq.load_model(path, device="meta").module.device.type == "meta"


# Downloads: what is published is a tiny one here


def pickled(sam: Sam) -> bytes:
    file = io.BytesIO()
    torch.save(weights(sam), file)
    return file.getvalue()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    data = pickled(tiny_sam(PLAIN))
    params = sum(value.numel() for value in tiny_sam(PLAIN).parameters())
    item = replace(PUBLISHED[0], shape=PLAIN, params=params, sha256=hashlib.sha256(data).hexdigest())
    for module in (published_module, catalogue):
        monkeypatch.setattr(module, "PUBLISHED", (item, *PUBLISHED[1:]))
    server = FileServer({item.file: data})
    monkeypatch.setenv("VITQ_SAM_URL", server.address)
    yield server
    server.close()


def kept(home: Path) -> list[str]:
    """What was downloaded, without the lock, which may stay."""
    return [path.name for path in (home / "sam").iterdir() if path.suffix != ".lock"]


def test_published_ones_are_listed_with_their_size() -> None:
    found = {info.id: info for info in vq.list_models() if info.task == "segmentation" and not info.bundled}
    assert list(found) == ["sam-vit-b", "sam-vit-l", "sam-vit-h"]
    assert "(375 MB) is downloaded when it is first used" in found["sam-vit-b"].summary
    assert "(1249 MB)" in found["sam-vit-l"].summary and "(2564 MB)" in found["sam-vit-h"].summary
    assert found["sam-vit-b"].source.endswith("/sam_vit_b_01ec64.pth")


@pytest.mark.parametrize("name", ["sam-vit-b", "vit_b"])
def test_a_published_one_is_downloaded_once(server: FileServer, home: Path, name: str) -> None:
    told = []
    model = vq.load_model(name, progress=lambda *said: told.append(said))
    check_ready(model)
    assert (model.info.id, model.info.title) == ("sam-vit-b", "SAM ViT-B")
    assert told[0] == (0.0, "Downloading sam_vit_b_01ec64.pth: 0 of 8 MB")
    assert told[-1] == (1.0, "Loaded SAM ViT-B")
    assert same_weights(vq.load_model(name).module, weights(model.module))
    assert len(server.requests) == 1
    assert kept(home) == ["sam_vit_b_01ec64.pth"]


def test_what_is_downloaded_in_parts_or_wrong_is_never_loaded(server: FileServer, home: Path) -> None:
    server.stop_after = 100_000
    with pytest.raises(vq.VitqError, match="broke off after"):
        vq.load_model("sam-vit-b")
    server.stop_after = None
    check_ready(vq.load_model("sam-vit-b"))
    (home / "sam" / "sam_vit_b_01ec64.pth").unlink()
    server.files["sam_vit_b_01ec64.pth"] = pickled(tiny_sam(PLAIN, seed=1))
    with pytest.raises(vq.VitqError, match=r"not the published sam_vit_b_01ec64.pth .* it was deleted"):
        vq.load_model("sam-vit-b")
    assert kept(home) == []


def test_no_network_is_said(server: FileServer) -> None:
    server.close()
    with pytest.raises(vq.VitqError, match=r"sam_vit_b_01ec64.pth \(8 MB\) is not downloaded yet and 127"):
        vq.load_model("sam-vit-b")


def test_a_file_put_there_by_hand_must_be_the_right_one(home: Path) -> None:
    (home / "sam").mkdir(parents=True)
    save_pickle(home / "sam" / "sam_vit_b_01ec64.pth", weights(tiny_sam(PLAIN)))
    said = r"sam_vit_b_01ec64.pth in .*home/sam are those of .* width 32 .*; its name says SAM ViT-B"
    with pytest.raises(vq.VitqError, match=said):
        vq.load_model("sam-vit-b")


def test_a_download_can_be_cancelled(server: FileServer) -> None:
    asked = iter([False])  # once it goes on
    with pytest.raises(vq.Cancelled, match="goes on from here"):
        vq.load_model("sam-vit-b", cancel=lambda: next(asked, True))
    assert server.requests == []


# The hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub({})
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client waits between its attempts
    yield hub
    hub.shutdown()
    hub.server_close()


def test_a_repository_in_our_format_is_a_model(hub: Hub, tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "tiny", tiny_sam())
    hub.files.update({path.name: path.read_bytes() for path in folder.iterdir()})
    told = []
    model = vq.load_model("hf-hub:user/tiny", progress=lambda *said: told.append(said))
    check_ready(model)
    assert (model.info.source, told[0]) == (
        f"user/tiny@{COMMIT}", (0.0, "Downloading tiny from the Hugging Face hub")
    )  # fmt: skip


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
def test_a_repository_of_weights_alone_is_a_model_and_stays_one_offline(
    hub: Hub, home: Path, name: str
) -> None:
    hub.files[name] = pickled(tiny_sam(PLAIN))
    check_ready(vq.load_model("hf-hub:user/tiny"))
    hub.shutdown()
    hub.server_close()
    check_ready(vq.load_model("hf-hub:user/tiny"))


def test_a_repository_without_weights_names_the_usual_file(hub: Hub) -> None:
    with pytest.raises(vq.VitqError, match=r"user/tiny has no model.safetensors"):
        vq.load_model("hf-hub:user/tiny")


# Memory


def test_wraps_a_sam_in_memory() -> None:
    sam = tiny_sam().train()
    model = vq.wrap_model(sam)
    assert model.module is sam and not sam.training
    assert (model.info.task, model.info.source, model.labels) == ("segmentation", "memory", None)
    assert model.preprocess.size == (128, 128)
    assert vq.wrap_model(tiny_sam(), device="meta").module.device.type == "meta"


@pytest.mark.parametrize(
    ("options", "unused"),
    [
        ({"labels": ["cat"]}, "labels"),
        ({"mean": (0.5, 0.5, 0.5), "std": np.ones(3)}, "mean, std"),
        ({"size": 64, "crop_pct": 1.0}, "size, crop_pct"),
        ({"interpolation": "bilinear"}, "interpolation"),
    ],
)
def test_what_does_not_apply_to_a_sam_is_refused(options: dict, unused: str) -> None:
    with pytest.raises(ValueError, match=f"has no classes and prepares pictures itself; leave out {unused}$"):
        vq.wrap_model(tiny_sam(), **options)


def test_a_sam_with_an_encoder_of_no_size_is_refused() -> None:
    sam = tiny_sam()
    sam.image_encoder = torch.nn.Identity()
    with pytest.raises(
        ValueError, match="image encoder, Identity, does not say its picture size as img_size"
    ):
        vq.wrap_model(sam)


def test_a_prepared_picture_is_what_the_predictor_gives_the_model() -> None:
    sam, seen = tiny_sam(), []
    sam.image_encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    pixels = picture(0)
    SamPredictor(sam).set_image(pixels)
    model = vq.wrap_model(sam)
    record = {"image": model.preprocess(Image.fromarray(pixels)), "original_size": pixels.shape[:2]}
    answer = model.module([record | {"boxes": torch.tensor([[8.0, 8, 90, 70]])}], multimask_output=True)[0]
    assert torch.equal(seen[0], seen[1]) and answer["masks"].shape == (1, 3, *pixels.shape[:2])


def test_without_prompts_there_is_no_answer() -> None:
    with pytest.raises(ValueError, match=r"takes no prompts, .* SamPredictor\(model.module\)"):
        vq.wrap_model(tiny_sam()).predict(Image.new("RGB", (50, 40)))
