"""Training the bundled Segment Anything, on a tiny model and a few small scenes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import SamPredictor

import vitq_core as vq
from vitq_core.common.masks import innermost, iou, tight_box
from vitq_core.common.sam_shape import SamShape
from vitq_core.demo.scenes import scene
from vitq_core.demo.training.sam import train as command_line
from vitq_core.demo.training.sam import trainer as trainer_module
from vitq_core.demo.training.sam.augment import augmented
from vitq_core.demo.training.sam.forward import Prompts, decoded, embedded, use_size
from vitq_core.demo.training.sam.losses import mask_losses, true_ious
from vitq_core.demo.training.sam.measure import found
from vitq_core.demo.training.sam.prompts import (
    anywhere,
    drawn_prompts,
    loose_box,
)
from vitq_core.demo.training.sam.scene_maps import NOTHING, drawn
from vitq_core.demo.training.sam.trainer import SHAPES, SamConfig, SamTrainer, take_weights

TINY = SamShape(
    width=16, depth=2, heads=2, global_blocks=(1,), img_size=64, patch_size=8, window=4, prompt_dim=16,
    mask_channels=8, decoder_mlp=16, decoder_heads=2, iou_width=16, mean=(127.5,) * 3, std=(63.75,) * 3,
)  # fmt: skip


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(SHAPES, "tiny", TINY)


@pytest.fixture
def maps(tmp_path):
    return drawn(6, 3, 64, tmp_path)


@pytest.fixture
def trainer(maps, tmp_path):
    return SamTrainer(SamConfig(shape="tiny", batch_size=2, prompts=3), maps, maps, tmp_path)


def test_maps_hold_every_listed_object_and_are_read_back(maps, tmp_path):
    for index in range(6):
        drawn_scene = scene(index, 3, 64)
        assert np.array_equal(maps.images[index].permute(1, 2, 0).numpy(), drawn_scene.image)
        for number, thing in enumerate(drawn_scene.objects):
            assert np.array_equal(maps.owners[index].numpy() == number, thing.mask)
            assert maps.kinds[index, number] == thing.label
    again = drawn(6, 3, 64, tmp_path, processes=2)
    assert torch.equal(again.images, maps.images)
    assert torch.equal(drawn(6, 3, 64, tmp_path / "two", processes=2).owners, maps.owners)
    half = maps.halved()
    assert half.size == 32
    assert (half.images.float().mean() - maps.images.float().mean()).abs() < 1


def test_pictures_and_owners_move_alike():
    colours = torch.zeros(40, 3, 32, 32, dtype=torch.uint8)
    owners = torch.full((40, 32, 32), NOTHING, dtype=torch.int8)
    colours[:, :, 8:20, 4:12], owners[:, 8:20, 4:12] = 255, 2
    mean, std = torch.zeros(3, 1, 1), torch.full((3, 1, 1), 255.0)
    pictures, numbers = augmented(colours, owners, 32, mean, std, torch.Generator().manual_seed(0))
    shown = torch.stack([p.mean() for p in pictures])
    brightness = [
        p.mean(0)[n == 2].mean() - p.mean(0)[n != 2].mean() for p, n in zip(pictures, numbers, strict=True)
    ]
    assert min(brightness) > 0.3  # what is bright is the object, wherever it went
    assert set(numbers.unique().tolist()) == {NOTHING, 2}
    assert shown.std() > 0
    wide = [(n == 2).any(0).sum() > (n == 2).any(1).sum() for n in numbers]
    assert 0 < sum(wide) < 40  # some were turned


def test_parts_show_things_as_large_as_the_whole_picture_does():
    colours = torch.zeros(60, 3, 64, 64, dtype=torch.uint8)
    owners = torch.full((60, 64, 64), NOTHING, dtype=torch.int8)
    colours[:, :, 24:40, 24:40], owners[:, 24:40, 24:40] = 255, 0
    mean, std = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
    whole, part = (
        augmented(colours, owners, size, mean, std, torch.Generator().manual_seed(1))[1] for size in (64, 32)
    )
    assert whole.shape[-1] == 64 and part.shape[-1] == 32
    sizes = [[int((number == 0).sum()) for number in numbers] for numbers in (whole, part)]
    inside = [b for a, b in zip(*sizes, strict=True) if b]
    assert np.mean(inside) > 0.5 * np.mean(sizes[0])  # a quarter, if the whole picture were made smaller


def test_prompts_are_in_what_they_mean():
    owners = np.full((32, 32), NOTHING, np.int8)
    owners[4:12, 6:20], owners[20:22, 2:4] = 0, 1
    rng = np.random.default_rng(0)
    prompts = drawn_prompts(owners, 400, rng)
    kinds = {"click": 0, "box": 0, "backdrop": 0}
    small = 0
    for prompt in prompts:
        if prompt.click is not None:
            x, y = (int(value) for value in prompt.click)
            kinds["backdrop" if prompt.mask is None else "click"] += 1
            assert (owners[y, x] == NOTHING) if prompt.mask is None else prompt.mask[y, x]
        else:
            kinds["box"] += 1
            assert 0 <= prompt.box[0] < prompt.box[2] <= 32
        small += prompt.mask is not None and prompt.mask[20, 2]
    assert 0.05 < kinds["backdrop"] / 400 < 0.16
    assert 0.38 < kinds["box"] / 400 < 0.52
    assert 0.55 < small / 400 < 0.7  # the small object, of a 28th of the pixels, 2.3 times as often
    assert tight_box(owners == 0) == (6, 4, 20, 12)
    assert innermost(owners == 0)[1] in (7, 8)
    x, y = anywhere(owners == 1, rng)
    assert owners[int(y), int(x)] == 1
    boxes = np.array([loose_box(owners == 0, rng) for _ in range(200)])
    assert np.abs(boxes.mean(0) - (6, 4, 20, 12)).max() < 0.2
    assert boxes.std(0).min() > 0


def test_without_objects_only_the_backdrop_is_asked_for():
    prompts = drawn_prompts(np.full((16, 16), NOTHING, np.int8), 5, np.random.default_rng(0))
    assert all(prompt.mask is None and prompt.click is not None for prompt in prompts)


def test_the_forward_for_training_is_the_packages():
    torch.manual_seed(0)
    sam = TINY.build()
    with torch.no_grad():
        for parameter in sam.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    click, box = np.array([[10.0, 20.0]]), np.array([4.0, 8.0, 40.0, 50.0])
    own = [predictor.predict(click, np.array([1]), multimask_output=many) for many in (False, True)]
    boxed = [predictor.predict(box=box, multimask_output=many) for many in (False, True)]
    use_size(sam, 64)
    with torch.no_grad():
        picture = sam.preprocess(torch.from_numpy(image).permute(2, 0, 1).float())[None]
        embeddings = embedded(sam, picture)
        assert torch.equal(embeddings, predictor.features)
        prompts = Prompts(
            torch.tensor(click)[None].float(),
            torch.ones(1, 1),
            torch.zeros(1, 0, 2),
            torch.zeros(1, 0),
            torch.tensor(box)[None].float(),
        )
        logits, predicted = decoded(sam, embeddings.expand(2, -1, -1, -1), prompts)
        for row, answers in enumerate((own, boxed)):
            for found_part, at in ((logits, 2), (predicted, 1)):
                expected = np.concatenate([answer[at] for answer in answers])
                assert np.allclose(found_part[row].numpy(), expected, atol=1e-5)
        again, _ = predictor.predict(
            np.concatenate((click, [[30.0, 30.0]])),
            np.array([1, 0]),
            mask_input=own[0][2],
            multimask_output=False,
        )[1:]
        corrected = prompts.with_clicks(
            torch.tensor([[[30.0, 30.0]]] * 2), torch.zeros(2, 1), torch.tensor(np.stack([own[0][2]] * 2))
        )
        _, predicted = decoded(sam, embeddings.expand(2, -1, -1, -1), corrected)
        assert np.allclose(predicted[0, :1].numpy(), again, atol=1e-5)
        use_size(sam, 32)
        assert embedded(sam, picture[..., :32, :32]).shape[-1] == 4
    use_size(sam, 64)


def test_losses_tell_good_masks_from_bad_ones():
    target = torch.zeros(1, 8, 8)
    target[:, 2:6, 2:6] = 1
    right, none = 10 * (2 * target - 1), torch.full_like(target, -10.0)
    logits = torch.stack((right[0], none[0], -right[0]))[None]
    for focal in (True, False):
        losses = mask_losses(logits, target, focal)[0]
        assert losses[0] < 0.01 < losses[1] < losses[2]
    assert true_ious(logits, target).tolist() == [[1.0, 0.0, 0.0]]
    assert iou(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 1


@pytest.mark.parametrize("progress", [0.0, 0.3, 0.7])
def test_every_phase_learns_at_its_size(trainer, progress, monkeypatch):
    trainer.seconds = 60 * trainer.config.minutes * progress
    before = {name: p.clone() for name, p in trainer.sam.named_parameters()}
    sizes = []
    monkeypatch.setattr(
        trainer_module, "use_size", lambda sam, side: (sizes.append(side), use_size(sam, side))
    )
    trainer.follow_schedule()
    assert np.isfinite(trainer.train_step())
    assert sizes == [{0.0: 16, 0.3: 32, 0.7: 64}[progress]]
    moved = {name for name, p in trainer.sam.named_parameters() if not torch.equal(p, before[name])}
    asked_with_masks = {name for name in moved if "mask_downscaling" in name}
    assert bool(asked_with_masks) == (progress == 0.7)
    assert any("image_encoder.blocks.0" in name for name in moved)
    assert any("mask_decoder" in name for name in moved)


def test_it_learns(trainer):
    trainer.config = replace(trainer.config, lr=5e-3)
    trainer.seconds = 60 * trainer.config.minutes * 0.2
    trainer.follow_schedule()
    losses = []
    for _ in range(60):
        losses.append(trainer.train_step())
        trainer.step += 1
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_a_resumed_training_ends_as_an_uninterrupted_one(maps, tmp_path):
    config = SamConfig(shape="tiny", batch_size=2, prompts=2)
    whole, first, second = (
        SamTrainer(config, maps, maps, tmp_path / name) for name in ("whole", "parts", "parts")
    )
    (tmp_path / "parts").mkdir()

    def steps(one: SamTrainer, count: int) -> None:
        for _ in range(count):
            one.seconds = 6.0 * one.step
            one.follow_schedule()
            one.train_step()
            one.step += 1

    steps(whole, 5)
    steps(first, 3)
    first.save()
    second.resume()
    steps(second, 2)
    for part in ("sam", "average"):
        for ours, theirs in zip(second.parts[part].parameters(), whole.parts[part].parameters(), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-6)


def test_weights_of_a_vit_of_the_same_width_are_taken():
    import timm

    vit = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=16, depth=3, num_heads=2, num_classes=4
    )
    sam = TINY.build()
    take_weights(sam, vit.state_dict())
    encoder = sam.image_encoder
    assert torch.equal(encoder.blocks[1].mlp.lin1.weight, vit.blocks[1].mlp.fc1.weight)
    assert torch.equal(encoder.blocks[0].attn.qkv.bias, vit.blocks[0].attn.qkv.bias)
    assert torch.allclose(encoder.patch_embed.proj.weight, vit.patch_embed.proj.weight, atol=1e-6)
    assert encoder.pos_embed.shape == (1, 8, 8, 16)


def test_a_training_that_begins_with_a_sam_has_its_first_lessons_behind_it(maps, trainer, tmp_path):
    state = trainer.sam.state_dict()
    with torch.no_grad():
        for value in state.values():
            value.add_(1)
    save_file(state, tmp_path / "model.safetensors")
    config = SamConfig(shape="tiny", batch_size=2, prompts=3, start=str(tmp_path))
    later = SamTrainer(config, maps, maps, tmp_path / "later")
    assert all(torch.equal(value, state[name]) for name, value in later.sam.state_dict().items())
    assert trainer.lessons == 0 and later.lessons == trainer_module.SKIPPED
    later.seconds = 60 * config.minutes / 2
    assert later.progress == 0.5 and later.lessons == pytest.approx((1 + trainer_module.SKIPPED) / 2)


def test_the_command_trains_and_exports(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command_line, "HELD_OUT", 2)
    out, folder = tmp_path / "out", tmp_path / "model"
    before = torch.get_num_threads()
    options = [
        "--out",
        str(out),
        "--shape",
        "tiny",
        "--scenes",
        "4",
        "--minutes",
        "0.02",
        "--batch-size",
        "1",
    ]
    try:
        command_line.main(options)
        command_line.main(["--out", str(out), "--export", str(folder)])
    finally:
        torch.set_num_threads(before)
    assert "IoU click" in capsys.readouterr().out
    sam = vq.load_model(folder).module
    assert SamShape.of(sam).as_dict() == SamShape.of(TINY.build()).as_dict()
    assert 0 <= found(sam, drawn(2, 2, 64, out)).box <= 1
    assert "--shape tiny --scenes 4" in (folder / "README.md").read_text()


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="unknown shape 'huge'; available: wide"):
        SamConfig(shape="huge")
    with pytest.raises(ValueError, match="scenes must be positive"):
        SamConfig(scenes=0)
    with pytest.raises(ValueError, match="start must be the folder of a ViT"):
        SamConfig(start="nowhere")


def test_the_averaged_weights_forget_where_they_began(trainer):
    start = [parameter.clone() for parameter in trainer.sam.parameters()]
    with torch.no_grad():
        for parameter in trainer.sam.parameters():
            parameter.add_(1)
    for _ in range(40):
        trainer.average.update_parameters(trainer.sam)
    first, moved = start[0], next(trainer.average.module.parameters())
    assert ((moved - first) > 0.99).all()
