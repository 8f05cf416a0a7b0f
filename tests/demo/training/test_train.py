"""Training the bundled models, on a tiny model and a few pictures."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image

from vitq_core.demo.training import train as command_line
from vitq_core.demo.training.card import PROGRAM, Result, write_card
from vitq_core.demo.training.command import shown
from vitq_core.demo.training.datasets import PictureSet, augment, load_folder_split
from vitq_core.demo.training.export import accuracy
from vitq_core.demo.training.initialization import initialize, sincos_positions
from vitq_core.demo.training.muon import Muon, optimizers, orthogonalize
from vitq_core.demo.training.tasks import TASKS, Task, draw_scenes
from vitq_core.demo.training.trainer import TrainConfig, Trainer, build

NORM = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
ARGS = {"img_size": 16, "patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2}


def _colors(count: int = 64) -> PictureSet:
    """Pictures that are brightest in red, green or blue: a task that anything learns at once."""
    labels = torch.arange(count) % 3
    images = torch.randint(0, 100, (count, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    images[torch.arange(count), labels] += 150
    return PictureSet(images.to(torch.uint8), labels, ("red", "green", "blue"))


@pytest.fixture(autouse=True)
def colors_task(monkeypatch):
    task = Task(
        "tiny", "A tiny model.", 3, "vit_tiny_patch16_224", ARGS, NORM, 1, lambda *_: (_colors(), _colors(40))
    )
    monkeypatch.setitem(TASKS, "colors", task)
    return task


@pytest.fixture
def trainer(tmp_path):
    return Trainer(TrainConfig("colors", epochs=10, batch_size=16), _colors(), _colors(40), tmp_path)


def test_training_learns_and_ends_with_the_learning_rate_near_zero(trainer):
    trainer.run()
    assert trainer.epochs == 10
    assert trainer.losses[-1] < trainer.losses[0] / 2
    assert accuracy(trainer.model, _colors(40), NORM) == 1
    assert all(g["lr"] < 0.1 * trainer.config.lr for o in trainer.optimizers for g in o.param_groups)


def test_begins_with_the_weights_of_an_exported_model(trainer, tmp_path):
    command_line.export_model(trainer, tmp_path / "first")
    config = TrainConfig("colors", start=str(tmp_path / "first"))
    second = Trainer(config, _colors(), _colors(40), tmp_path)
    for name, value in second.model.state_dict().items():
        assert torch.equal(value, trainer.model.state_dict()[name].half().float()), name
    assert second.epochs == 0
    assert "--start first" in shown(PROGRAM, config)


def test_the_clock_ends_training_before_the_epochs(tmp_path):
    config = TrainConfig("colors", epochs=1e6, minutes=0.01, batch_size=16)
    trainer = Trainer(config, _colors(), _colors(40), tmp_path)
    trainer.run()
    assert 1 <= trainer.progress < 2
    assert trainer.epochs < 1e6


def test_patches_are_dropped_only_until_the_last_part(trainer):
    for seconds, expected in ((0, 0.5), (60 * 80, 0.0)):
        trainer.seconds = seconds
        trainer.follow_schedule()
        assert trainer.model.patch_drop.prob == expected


def test_every_block_learns_from_the_first_step(tmp_path):
    trainer = Trainer(TrainConfig("colors", batch_size=16, patch_drop=0.0), _colors(), _colors(), tmp_path)
    before = [block.mlp.fc2.weight.clone() for block in trainer.model.blocks]
    trainer.learn(torch.arange(16))
    changes = [
        (block.mlp.fc2.weight - old).norm() for block, old in zip(trainer.model.blocks, before, strict=True)
    ]
    assert min(changes) > 0.1 * max(changes) > 0


def test_bfloat16_products_learn_float32_weights(tmp_path, monkeypatch):
    products = []
    linear = torch.nn.functional.linear
    config = TrainConfig("colors", batch_size=16, patch_drop=0.0, precision="bfloat16")
    rounded = Trainer(config, _colors(), _colors(), tmp_path)
    exact = Trainer(replace(config, precision="float32"), _colors(), _colors(), tmp_path)
    monkeypatch.setattr(
        torch.nn.functional, "linear", lambda *given: (products.append(linear(*given)), products[-1])[1]
    )
    losses = [trainer.learn(torch.arange(16)) for trainer in (rounded, exact)]
    half = len(products) // 2
    assert {product.dtype for product in products[:half]} == {torch.bfloat16}
    assert {product.dtype for product in products[half:]} == {torch.float32}
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert all(parameter.dtype == torch.float32 for parameter in rounded.model.parameters())


def test_naming_patches_learns_where_the_label_stands(tmp_path):
    pictures = draw_scenes(16, 3, 16, tmp_path)
    config = TrainConfig("colors", batch_size=16, epochs=40, patch_drop=0.0, patch_labels=1.0)
    trainer = Trainer(config, pictures, pictures, tmp_path)
    images, masks = trainer._augmented(torch.arange(16))
    assert images.shape == (16, 3, 16, 16)
    assert masks.shape == (16, 1, 16, 16)
    tokens = trainer.model.forward_features(images.float() / 255)
    loss = trainer._patch_loss(tokens, masks, pictures.labels)
    loss.backward()
    assert 2 < loss.item() < 5  # near ln 21 at first
    assert trainer.patch_head.weight.grad.abs().sum() > 0


def steps(trainer: Trainer, count: int) -> None:
    for _ in range(count):
        trainer.follow_schedule()
        trainer.train_step()
        trainer.step += 1


def test_a_resumed_training_ends_as_an_uninterrupted_one(tmp_path):
    config = TrainConfig("colors", epochs=2, batch_size=16, patch_drop=0.0)
    whole = Trainer(config, _colors(), _colors(), tmp_path / "whole")
    halves = [Trainer(config, _colors(), _colors(), tmp_path) for _ in range(2)]
    steps(whole, 8)
    steps(halves[0], 5)
    halves[0].save()
    halves[1].resume()
    steps(halves[1], 3)
    assert halves[1].step == whole.step
    for ours, theirs in zip(halves[1].model.parameters(), whole.model.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_command_trains_and_exports_a_folder_that_timm_loads(tmp_path, threads, capsys):
    out, folder = tmp_path / "out", tmp_path / "model"
    command_line.main(["colors", "--out", str(out), "--epochs", "6", "--batch-size", "16", "--threads", "1"])
    command_line.main(["colors", "--out", str(out), "--export", str(folder)])
    assert "accuracy" in capsys.readouterr().out
    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["label_names"] == ["red", "green", "blue"]
    assert tuple(model.pretrained_cfg["mean"]) == NORM[0]
    assert tuple(model.pretrained_cfg["std"]) == NORM[1]
    assert tuple(model.pretrained_cfg["input_size"]) == (3, 16, 16)
    assert model.pretrained_cfg["label_names"] == ["red", "green", "blue"]
    saved = torch.load(out / "checkpoint.pt", weights_only=True)["parts"]["model"]
    assert all(torch.equal(v, saved[k].half().float()) for k, v in model.state_dict().items())
    assert "tiny" in (folder / "README.md").read_text(encoding="utf-8")


def test_what_cannot_be_trained_is_refused(tmp_path):
    with pytest.raises(ValueError, match="available: scenes, scenes-swin, cifar10"):
        TrainConfig("imagenet")
    with pytest.raises(ValueError, match="minutes must be positive"):
        TrainConfig("scenes", minutes=0)
    with pytest.raises(ValueError, match="start must be a folder that --export wrote, and 'nowhere' is none"):
        TrainConfig("scenes", start="nowhere")
    with pytest.raises(ValueError, match="patch_drop must be at least 0 and below 1"):
        TrainConfig("scenes", patch_drop=1.0)
    with pytest.raises(ValueError, match="precision must be float32 or bfloat16, not 'half'"):
        TrainConfig("scenes", precision="half")
    with pytest.raises(ValueError, match="set patch_drop to 0"):
        TrainConfig("scenes", patch_labels=1.0)
    with pytest.raises(ValueError, match="needs --data"):
        TASKS["cifar10"].load(tmp_path, None)
    with pytest.raises(ValueError, match="no training in"):
        command_line.main(["scenes", "--out", str(tmp_path), "--resume"])


def test_the_card_tells_the_command_without_where_the_data_was():
    config = TrainConfig("cifar10", data=str(Path("some") / "where" / "cifar10.zip"), seed=3)
    assert shown(f"{PROGRAM} cifar10", config).endswith(
        "train cifar10 --out training --seed 3 --data cifar10.zip"
    )


def test_the_card_says_where_the_clock_ended_the_training(tmp_path):
    for epochs, by_the_clock in ((4.0, False), (3.2, True)):
        result = Result(accuracy=0.95, held_out=1000, train=2000, epochs=epochs, minutes=90)
        write_card(tmp_path, TrainConfig("colors", epochs=4), result)
        card = (tmp_path / "README.md").read_text(encoding="utf-8")
        assert ("The clock ended the first command" in card) == by_the_clock
        assert "--export assets/models/tiny\n\n" in card and "\n\nLoad it with" in card
        assert "\n\n\n" not in card


def test_folders_and_zips_read_the_same(tmp_path):
    for name, value in (("cat", 10), ("ape", 200)):
        (tmp_path / "set" / "train" / name).mkdir(parents=True)
        Image.new("L", (20, 20), value).save(tmp_path / "set" / "train" / name / "0.png")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in (tmp_path / "set").rglob("*.png"):
            archive.write(path, path.relative_to(tmp_path / "set"))
    for source in ("set", "set.zip"):
        pictures = load_folder_split(tmp_path / source, "train", 16)
        assert pictures.names == ("ape", "cat")
        assert pictures.images.shape == (2, 3, 16, 16)
        assert [int(pictures.images[pictures.labels == i].float().mean()) for i in (0, 1)] == [200, 10]
    with pytest.raises(ValueError, match=r"no pictures named test/"):
        load_folder_split(tmp_path / "set", "test", 16)
    with pytest.raises(ValueError, match="neither a folder nor a zip"):
        load_folder_split(tmp_path / "nothing", "train", 16)


def test_drawn_scenes_are_read_back(tmp_path):
    drawn, again = (draw_scenes(6, 3, 32, tmp_path) for _ in range(2))
    assert torch.equal(drawn.images, again.images)
    assert torch.equal(drawn.labels, again.labels)
    assert torch.equal(drawn.masks, again.masks)
    assert 0 < (drawn.masks == 255).float().mean() < 0.7
    assert drawn.names == again.names


def test_augmentation_shifts_and_mirrors_without_new_values():
    images = torch.arange(3 * 8 * 8, dtype=torch.uint8).view(1, 3, 8, 8).repeat(40, 1, 1, 1)
    changed = augment(images, 2, torch.Generator().manual_seed(0))
    assert changed.shape == images.shape
    assert changed.dtype == torch.uint8
    assert set(changed[:, 0].unique().tolist()) <= set(images[:, 0].unique().tolist())
    still = augment(images, 0, torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) or torch.equal(a, b.flip(-1)) for a, b in zip(still, images, strict=True))
    assert len(still.unique(dim=0)) == 2


def test_muon_steps_are_orthogonal_and_skip_embeddings(colors_task):
    torch.manual_seed(0)
    sigma = torch.linalg.svdvals(orthogonalize(torch.randn(3, 24, 40)))
    assert sigma.min() > 0.5 and sigma.max() < 1.3
    model = build(colors_task, 3)
    extra = torch.nn.Linear(4, 3)
    matrices = [f"model.{name}" for name, p in model.named_parameters() if "blocks" in name and p.ndim == 2]
    muon, adamw = optimizers({"model": model, "extra": extra}, matrices, 1e-3, 0.1)
    assert isinstance(muon, Muon)
    counts = [sum(len(g["params"]) for g in o.param_groups) for o in (muon, adamw)]
    assert counts[0] == 8
    assert sum(counts) == len(list(model.parameters())) + 2


def test_initialization_makes_tokens_attend_near_themselves(colors_task):
    torch.manual_seed(0)
    model = build(colors_task, 3)
    initialize(model)
    product = model.blocks[0].attn.proj.weight @ model.blocks[0].attn.qkv.weight[-32:]
    assert product.diagonal().mean() < -0.2
    near = sincos_positions(4, 4, 32) @ sincos_positions(4, 4, 32).T
    assert (near.argmax(1) == torch.arange(16)).all()
    with pytest.raises(ValueError, match="divisible by 4"):
        sincos_positions(4, 4, 30)
