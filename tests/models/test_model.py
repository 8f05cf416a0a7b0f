"""Models from the catalogue, folders, a hub (a real server on 127.0.0.1) and memory; errors are sentences."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save, save_file

from vitq_core import quantize
from vitq_core.common.errors import VitqError
from vitq_core.common.home import vitq_home
from vitq_core.models import catalogue as catalog
from vitq_core.models import list_models, load_model, wrap_model

ARGS = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3}
NAMES = ["cat", "dog", "fish"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"  # of what the hub has


def config(**changes) -> dict:
    pretrained = {"input_size": [3, 16, 16], "fixed_input_size": True, "crop_pct": 1.0, "num_classes": 3}
    pretrained |= {
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "classifier": "head",
        "first_conv": "patch_embed.proj",
    }
    plain = {"architecture": "vit_tiny_patch16_224", "num_classes": 3, "model_args": ARGS}
    return plain | {"label_names": NAMES, "pretrained_cfg": pretrained} | changes


def make_folder(folder: Path, **changes) -> Path:
    """A tiny ViT in timm's local-directory format, fp16."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    module = timm.create_model("vit_tiny_patch16_224", num_classes=3, **ARGS)
    half = {name: tensor.half() for name, tensor in module.state_dict().items()}
    save_file(half, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config(**changes)))
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VITQ_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "tiny-vit")


def test_home_is_made_when_asked_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not home.exists() and vitq_home() == home and home.is_dir()
    (home / "file").touch()
    monkeypatch.setenv("VITQ_HOME", str(home / "file" / "below"))
    with pytest.raises(VitqError, match=r"cannot be created .* set VITQ_HOME"):
        vitq_home()
    monkeypatch.delenv("VITQ_HOME")
    monkeypatch.setenv("HOME", str(home))
    assert vitq_home() == home / ".cache" / "vitq"


def test_loads_a_folder(folder: Path) -> None:
    model = load_model(folder)
    weights = load_file(folder / "model.safetensors")
    assert all(torch.equal(value, weights[name].float()) for name, value in model.module.state_dict().items())
    assert not model.module.training and model.labels == NAMES
    assert model.preprocessing.size == (16, 16) and model.preprocessing.std == (0.25,) * 3
    image = model.preprocess(Image.new("L", (40, 30), 255))
    assert model.module(image[None]).shape == (1, 3) and image.max() == pytest.approx(2.0)
    assert (model.info.id, model.info.bundled) == (str(folder), False)
    assert model.info.params == sum(p.numel() for p in model.module.parameters()) > 0
    assert load_model(model.info.id).labels == NAMES


def _truncate(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def _other_depth(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(config(model_args=ARGS | {"depth": 2})))


def _not_finite(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["head.bias"][0] = torch.nan
    save_file(weights, folder / "model.safetensors")


def _write(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)


DAMAGES = {
    "no config": (lambda f: (f / "config.json").unlink(), "has no config.json"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors"),
    "truncated": (_truncate, "the weights of .* are damaged or incomplete"),
    "empty weights": (
        lambda f: (f / "model.safetensors").write_bytes(b""),
        "no file of weights.* it is empty",
    ),
    "a web page": (lambda f: (f / "model.safetensors").write_bytes(b"<html>" * 99), "perhaps a web page was"),
    "not finite": (_not_finite, "values that are not finite"),
    "no json": (lambda f: _write(f, "{,"), "config.json of .* is damaged"),
    "no text": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "config.json of .* is damaged"),
    "a list": (lambda f: _write(f, "[]"), "names no timm architecture"),
    "transformers": (lambda f: _write(f, '{"architectures": ["ViTModel"]}'), "names no timm architecture"),
    "unknown": (lambda f: _write(f, '{"architecture": "vit_huge"}'), "has no architecture 'vit_huge'"),
    "other depth": (
        _other_depth,
        r"does not fit vit_tiny_patch16_224 as its config.json says: it lacks 12 tensors of the model "
        r"\(blocks.1.norm1.weight, blocks.1.norm1.bias, blocks.1.attn.qkv.weight and 9 more\)",
    ),
    "odd argument": (lambda f: _write(f, json.dumps(config(model_args={"wings": 2}))), "does not fit timm"),
    "other classes": (
        lambda f: _write(f, json.dumps(config(model_args=ARGS | {"num_classes": 5}, label_names=None))),
        "says 3 classes but builds a model of 5",
    ),
    "few labels": (
        lambda f: _write(f, json.dumps(config(label_names=["cat"]))),
        "names 1 labels for 3 classes",
    ),
    "bad std": (
        lambda f: _write(
            f, json.dumps(config(pretrained_cfg=config()["pretrained_cfg"] | {"std": [0, 0, 0]}))
        ),
        "cannot be used: std must be three positive numbers",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_folders_are_named_in_a_sentence(folder: Path, damage: str) -> None:
    harm, sentence = DAMAGES[damage]
    harm(folder)
    with pytest.raises(VitqError, match=sentence) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model_id", ["demo-vitt", "", "some/where", "hf-hub:nobody", "/no/such/folder"])
def test_unknown_ids_list_what_there_is(model_id: str) -> None:
    with pytest.raises(ValueError, match=r"unknown model .*; available: .*deit-small.*hf-hub:user/name"):
        load_model(model_id)


def test_names_no_repository_can_have() -> None:
    with pytest.raises(ValueError, match="is not the name of a repository"):
        load_model("hf-hub:us er/na..me")


# The catalogue


def test_hub_models_are_listed_with_their_real_size() -> None:
    rows = [info for info in list_models() if not info.bundled and info.task == "classification"]
    assert {info.id for info in rows} == {
        *("vit-small", "vit-base", "deit-tiny", "deit-small", "deit-base"),
        *("swin-tiny", "swin-small", "swin-base"),
    }
    for info in rows:
        name = info.source.removeprefix("timm/")
        with torch.device("meta"):
            module = timm.create_model(name)
        assert info.params == sum(p.numel() for p in module.parameters()), info.id
        assert module.pretrained_cfg["hf_hub_id"] == info.source and info.summary.endswith(".")


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that ships only demo-vit."""
    monkeypatch.setattr(catalog, "BUNDLED_ROOT", tmp_path)
    return make_folder(tmp_path / "assets" / "models" / "demo-vit")


def test_bundled_models_are_listed_where_their_weights_are(shipped: Path) -> None:
    bundled = [info for info in list_models() if info.bundled]
    assert [info.id for info in bundled] == ["demo-vit", "demo-vit-outliers"]
    model = load_model("demo-vit")
    assert model.info == bundled[0] and model.labels == NAMES
    assert "made hard to shrink on purpose" in bundled[1].summary


def test_a_bundled_model_without_weights_says_so(shipped: Path) -> None:
    with pytest.raises(VitqError, match="the weights of cifar10-vit-outliers are missing"):
        load_model("cifar10-vit-outliers")
    (shipped / "model.safetensors").write_bytes(b"short")
    assert [info.params for info in list_models() if info.bundled] == [0, 0]
    with pytest.raises(VitqError, match="weights of demo-vit are no file of weights"):
        load_model("demo-vit")


def test_the_outlier_twin_is_the_same_function(shipped: Path) -> None:
    plain, spread = load_model("demo-vit"), load_model("demo-vit-outliers")
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(plain.module(images), spread.module(images), atol=1e-4)
    assert not torch.equal(plain.module.blocks[0].norm1.weight, spread.module.blocks[0].norm1.weight)


CLASSIFIERS = [info for info in list_models() if info.bundled and info.task == "classification"]


@pytest.mark.parametrize("info", CLASSIFIERS, ids=lambda info: info.id)
def test_shipped_models_load(info: catalog.ModelInfo) -> None:
    model = load_model(info.id)
    logits = model.module(model.preprocess(Image.new("RGB", (50, 40)))[None])
    assert model.labels is not None and logits.shape == (1, len(model.labels))


# The hub


class Hub(ThreadingHTTPServer):
    """The part of the Hugging Face hub that a download uses: /{user}/{name}/resolve/{revision}/{file}."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Resolve)
        self.files, self.requests, self.broken = files, [], {}
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Resolve(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        user, _, rest = self.path.lstrip("/").partition("/")
        name, _, rest = rest.partition("/resolve/")
        filename = rest.partition("/")[2]
        if not filename:
            return self._refuse(404)  # the client's other questions
        self.server.requests.append((self.command, f"{user}/{name}", filename))
        fault = self.server.broken.get(filename)
        if f"{user}/{name}" != "user/tiny" or filename not in self.server.files or isinstance(fault, int):
            code = "EntryNotFound" if f"{user}/{name}" == "user/tiny" else "RepoNotFound"
            return self._refuse(fault if isinstance(fault, int) else 404, code)
        self._send(self.server.files[filename], body, truncated=fault == "truncated")

    def _refuse(self, status: int, code: str = "") -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, data: bytes, body: bool, truncated: bool) -> None:
        start = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if body:
            self.wfile.write(data[start : len(data) // 2] if truncated else data[start:])

    def log_message(self, *args) -> None:
        """Tests print nothing."""


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub({path.name: path.read_bytes() for path in folder.iterdir()})
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client waits between its attempts
    yield hub
    hub.shutdown()
    hub.server_close()


def test_downloads_what_was_picked_and_only_once(hub: Hub, home: Path) -> None:
    list_models()
    assert hub.requests == []
    model = load_model("hf-hub:user/tiny")
    assert model.labels == NAMES and model.info.source == f"user/tiny@{COMMIT}"
    assert {name for _, _, name in hub.requests} == {"config.json", "model.safetensors"}
    assert list(home.rglob("model.safetensors"))
    hub.requests.clear()
    again = load_model("hf-hub:user/tiny")
    assert hub.requests == [] and torch.equal(again.module.head.weight, model.module.head.weight)


def test_a_swin_is_downloaded_and_quantized(hub: Hub) -> None:
    """In timm's format, whose classifier is ``head.fc``."""
    size = {"img_size": 16, "patch_size": 2, "embed_dim": 12, "depths": [2, 2], "num_heads": [2, 4]}
    arguments = {**size, "window_size": 4}
    module = timm.create_model("swin_tiny_patch4_window7_224", num_classes=3, **arguments)
    described = config(architecture="swin_tiny_patch4_window7_224", model_args=arguments)
    described["pretrained_cfg"]["classifier"] = "head.fc"
    hub.files = {
        "config.json": json.dumps(described).encode(), "model.safetensors": save(module.state_dict())
    }  # fmt: skip
    model = load_model("hf-hub:user/tiny")
    assert model.labels == NAMES and model.info.task == "classification"
    assert model.info.params == sum(parameter.numel() for parameter in module.parameters())
    images = model.preprocess(Image.new("RGB", (40, 30), "teal"))[None]
    with torch.no_grad():
        expected = module.eval()(images)
        assert torch.equal(model.module(images), expected)
        found = quantize(model, images, "repq")(images)
    assert 0 < (found - expected).norm() < 0.5 * expected.norm()


FAULTS = {
    "missing weights": ("hf-hub:user/tiny", {"model.safetensors": 404}, "user/tiny has no model.safetensors"),
    "missing config": ("hf-hub:user/tiny", {"config.json": 404}, "user/tiny has no config.json"),
    "unknown": ("timm/nothing", {}, "there is no timm/nothing on the Hugging Face hub, or it is private"),
    "failing": ("hf-hub:user/tiny", {"model.safetensors": 500}, r"could not serve .*error 500.*try again"),
    "busy": ("hf-hub:user/tiny", {"config.json": 503}, r"could not serve .*error 503.*try again"),
    "truncated": (
        "hf-hub:user/tiny",
        {"model.safetensors": "truncated"},
        r"download of model.safetensors broke off .* try again, it goes on from there",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_failed_downloads_are_a_sentence_and_can_be_repeated(hub: Hub, fault: str) -> None:
    model_id, hub.broken, sentence = FAULTS[fault]
    with pytest.raises(VitqError, match=sentence) as caught:
        load_model(model_id)
    assert "\n" not in str(caught.value)
    hub.broken = {}
    assert load_model("hf-hub:user/tiny").labels == NAMES


def test_offline_is_said_at_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_waiting(seconds: float) -> None:
        raise AssertionError("waited for a network that is not there")

    monkeypatch.setattr("time.sleep", no_waiting)
    hub.shutdown()
    hub.server_close()
    with pytest.raises(
        VitqError, match=r"deit_tiny.* is not downloaded yet and the Hugging Face hub cannot be"
    ):
        load_model("deit-tiny")


# Memory


def test_wraps_a_module_in_memory() -> None:
    module = timm.create_model("vit_tiny_patch16_224", num_classes=3, **ARGS)
    model = wrap_model(module, labels=NAMES, mean=(0.5, 0.5, 0.5))
    assert model.module is module and model.labels == NAMES
    assert model.preprocessing.size == (16, 16) and model.preprocessing.crop_pct == 1.0
    assert model.preprocess(Image.new("RGB", (99, 50))).shape == (3, 16, 16)
    own = timm.create_model("vit_tiny_patch16_224", num_classes=3, **ARGS, dynamic_img_size=True)
    assert wrap_model(own, size=224).preprocessing.crop_pct == 0.875
    assert (model.info.source, model.info.bundled) == ("memory", False)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"labels": ["cat"]}, "the model has 3 classes but 1 labels were given"),
        ({"labels": "cat"}, "labels must be a list of class names"),
        ({"labels": [1, 2, 3]}, "labels must be a list of class names"),
        ({"mean": (0.5,)}, "mean must be three finite numbers"),
        ({"std": (0.5, 0.5, -1)}, "std must be three positive numbers"),
        ({"size": "big"}, "size must be a positive number"),
        ({"crop_pct": 0}, "crop_pct must be above 0"),
    ],
)
def test_wrapping_refuses_what_does_not_fit(options: dict, sentence: str) -> None:
    module = timm.create_model("vit_tiny_patch16_224", num_classes=3, **ARGS)
    with pytest.raises(ValueError, match=sentence):
        wrap_model(module, **options)


def test_wrapping_needs_a_module_and_its_size() -> None:
    with pytest.raises(ValueError, match=r"takes a torch.nn.Module, got dict"):
        wrap_model({})
    with pytest.raises(ValueError, match="Flatten does not say its picture size; give it as size=224"):
        wrap_model(torch.nn.Flatten())


def test_labels_name_what_the_head_gives() -> None:
    module = timm.create_model("vit_tiny_patch16_224", num_classes=3, **ARGS)
    module.head = torch.nn.Linear(24, 4)  # as one does to learn four other classes: num_classes stays 3
    assert wrap_model(module, labels=list("abcd")).classes == 4
    with pytest.raises(ValueError, match="the model has 4 classes but 3 labels were given"):
        wrap_model(module, labels=NAMES)
    module.head = torch.nn.Identity()
    assert wrap_model(module).classes == 0
    with pytest.raises(
        ValueError, match="the model has no head, so it has no classes that labels could name"
    ):
        wrap_model(module, labels=NAMES)


# Tasks


def test_a_folder_without_a_head_holds_features(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "tower")
    weights = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "head" not in k}, folder / "model.safetensors")
    pretrained = {**config()["pretrained_cfg"], "num_classes": 0}
    changes = {"num_classes": 0, "label_names": None, "pretrained_cfg": pretrained}
    (folder / "config.json").write_text(json.dumps(config(**changes)))
    model = load_model(folder)
    assert (model.info.task, model.labels, model.classes) == ("features", None, 0)
    features = model.predict(Image.new("RGB", (50, 40), "green"))
    assert features.shape == (24,) and not features.requires_grad


def test_a_picture_is_answered_by_name(folder: Path) -> None:
    model, picture = load_model(folder), Image.new("RGB", (50, 40), "green")
    assert model.info.task == "classification"
    answers = model.predict(picture)
    chances = model.module(model.preprocess(picture)[None]).softmax(-1)[0].tolist()
    assert dict(answers) == pytest.approx(dict(zip(NAMES, chances, strict=True)))
    assert [chance for _, chance in answers] == sorted(chances, reverse=True)


# Devices


def test_a_model_is_moved_where_it_is_wanted(folder: Path) -> None:
    kinds = {name: load_model(folder, device=name).module.head.weight.device.type for name in ("cpu", "meta")}
    assert kinds == {"cpu": "cpu", "meta": "meta"}
    module = timm.create_model("vit_tiny_patch16_224", num_classes=3, **ARGS).to("meta")
    assert wrap_model(module).module.head.weight.is_meta, "it stays where it is"
    plain = timm.create_model("vit_tiny_patch16_224", num_classes=3, **ARGS)
    assert wrap_model(plain, device=torch.device("meta")).module.head.weight.is_meta


@pytest.mark.parametrize("device", ["tpu7", "cuda:99", 3.5, ""])
def test_a_device_that_is_not_there_is_a_sentence(folder: Path, device: object) -> None:
    for make in (load_model, lambda _, device: wrap_model(torch.nn.Linear(1, 1), size=4, device=device)):
        with pytest.raises(ValueError, match="device must be one of this machine's"):
            make(folder, device=device)
