"""What the benchmarks rely on and no measurement would tell: what they try, and on which pictures."""

import json
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import vitq_core as vq

from .benchmarks.block_deletion import left_out, main, without_each_block
from .benchmarks.cells import TrainAndTest, source_of
from .benchmarks.error_sources import block_outputs, sources
from .benchmarks.features import EveryThirdJudges
from .benchmarks.features_ablation import ROWS
from .benchmarks.http_page import Heard
from .benchmarks.norm_ablation import _lost, residual_rotated, smoothed
from .benchmarks.provenance import commit_of
from .benchmarks.reconstruction import TABLES, Row, same
from .benchmarks.relu_ablation import with_relu
from .benchmarks.sessions import Crowd, missed, summary


def test_mlps_with_relu_learn_what_they_gave_with_gelu(tiny, pictures) -> None:
    model = tiny(depth=2)
    images, before = pictures(model, 64), [parameter.clone() for parameter in model.parameters()]
    learned = with_relu(model, images)
    assert all(isinstance(block.mlp.act, nn.ReLU) for block in learned.blocks)
    with torch.no_grad():
        exchanged = [(block.mlp.act, setattr(block.mlp, "act", nn.ReLU()))[0] for block in model.blocks]
        naive = model(images)
        for block, act in zip(model.blocks, exchanged, strict=True):
            block.mlp.act = act
        wanted = model(images)
        assert (learned(images) - wanted).square().sum() < 0.5 * (naive - wanted).square().sum()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("change", [residual_rotated, smoothed])
def test_a_change_around_norms_leaves_what_the_model_computes(tiny, pictures, change) -> None:
    model = tiny(depth=2, init_values=0.5)
    images = pictures(model, 4)
    for block in model.blocks:
        nn.init.uniform_(block.norm1.weight, 0.2, 3.0)
        nn.init.normal_(block.norm2.bias)
        nn.init.uniform_(block.ls1.gamma)
    before = [parameter.clone() for parameter in model.parameters()]
    changed = change(model, images)
    with torch.no_grad():
        assert torch.allclose(changed(images), model(images), atol=1e-4)
    qkv = [each.blocks[1].attn.qkv.weight for each in (model, changed)]
    assert not torch.allclose(*qkv, atol=1e-2)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_smoothing_loses_less_where_channels_differ(tiny, pictures) -> None:
    model = tiny(depth=2)
    images = pictures(model, 4)
    with torch.no_grad():
        model.blocks[0].norm1.weight[::5] *= 20
        rows = model.blocks[0].norm1(model.patch_embed(images)).flatten(0, 1)
    weight = model.blocks[0].attn.qkv.weight
    factor = smoothed(model, images).blocks[0].attn.qkv.weight.div(weight).median(dim=0).values
    assert _lost(rows, weight, factor) < 0.8 * _lost(rows, weight, torch.ones_like(factor))


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=f"{table} {name}")
        for table, rows in {**TABLES, "features": ROWS}.items()
        for name, row in rows.items()
    ],
)
def test_every_row_of_a_table_can_be_followed_and_changes_something(row: Row) -> None:
    recipe = vq.recipe(row.recipe, 3, 3)
    changed = row.change(recipe)
    changed.plan()
    assert (changed == recipe) == (row.change is same)


def test_photographs_that_judge_features_calibrate_with_no_seed(tmp_path: Path) -> None:
    for index in range(12):
        Image.new("RGB", (40, 40), (20 * index, 0, 0)).save(tmp_path / f"{index:02}.png")
    source = EveryThirdJudges(str(tmp_path), vq.load_model("demo-vit"))
    judging = {sample.name for sample in source.held_out(4)}
    drawn = [[sample.name for sample in source.calibration(6, seed)] for seed in (0, 1, 0)]
    assert judging == {f"{index:02}.png" for index in (0, 3, 6, 9)}
    assert all(len(set(names)) == 6 and not judging & set(names) for names in drawn)
    assert drawn[0] == drawn[2] != drawn[1]


def test_photographs_calibrate_from_train_and_are_judged_on_test(tmp_path: Path) -> None:
    model = vq.load_model("cifar10-vit")
    with zipfile.ZipFile(tmp_path / "photographs.zip", "w") as archive:
        for place, part in enumerate(("train", "test")):
            for index, name in enumerate(model.labels):
                Image.new("RGB", (32, 32), (index, place, 0)).save(tmp_path / "one.png")
                archive.write(tmp_path / "one.png", f"{part}/{name}/{index}.png")
    source = source_of(model, str(tmp_path / "photographs.zip"))
    drawn, judged = source.calibration(4, seed=0), source.held_out(10)
    assert isinstance(source, TrainAndTest) and len(drawn) == 4 and len(judged) == 10
    assert all(sample.read().getpixel((0, 0)) == (sample.label, 0, 0) for sample in drawn)
    assert all(sample.read().getpixel((0, 0)) == (sample.label, 1, 0) for sample in judged)
    assert [sample.name for sample in drawn] == [sample.name for sample in source.calibration(4, seed=0)]
    with pytest.raises(SystemExit, match="cifar10-vit was trained on photographs"):
        source_of(model, None)


def test_a_block_that_does_nothing_is_left_out_for_free(model, images) -> None:
    idle = model.blocks[1]
    with torch.no_grad():
        for last in (idle.attn.proj, idle.mlp.fc2):
            last.weight.zero_()
            last.bias.zero_()
        answers = model(images)
        without_first = model.forward_head(
            model.norm(idle(model.norm_pre(model._pos_embed(model.patch_embed(images)))))
        )
    found = without_each_block(model, images, answers.argmax(1))
    needed, free = found["blocks"]
    assert (found["n"], found["top1"]) == (len(images), 1)
    assert (free["block"], free["agreement"], free["top1"]) == ("blocks.1", 1, 1)
    assert abs(free["kl"]) < 1e-5
    wanted = torch.nn.functional.kl_div(
        without_first.log_softmax(1), answers.log_softmax(1), reduction="batchmean", log_target=True
    )
    assert needed["kl"] == pytest.approx(wanted.item(), rel=1e-4) and needed["kl"] > 0.01
    agreeing = (without_first.argmax(1) == answers.argmax(1)).float().mean().item()
    assert needed["agreement"] == needed["top1"] == pytest.approx(agreeing)
    with torch.no_grad():
        assert torch.equal(model(images), answers)  # every block is in its place again


def test_a_block_comes_back_after_an_error(model) -> None:
    first = model.blocks[0]
    with pytest.raises(KeyError), left_out(model, "blocks.0"):
        assert isinstance(model.blocks[0], nn.Identity)
        raise KeyError
    assert model.blocks[0] is first


def test_the_blocks_of_a_folder_are_measured_and_stored(tmp_path: Path, capsys) -> None:
    demo = Path(vq.load_model("demo-vit").info.source)
    path = tmp_path / "blocks.json"
    main(["--models", str(demo), "--limit", "4", "--results", str(path)])
    (found,) = json.loads(path.read_text()).values()
    assert found["n"] == 4 and len(found["blocks"]) == len(vq.load_model("demo-vit").module.blocks)
    assert "| `blocks.0` |" in capsys.readouterr().out


def test_a_commit_is_named_and_marked_where_files_differ(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        named = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *named, *arguments], check=True, capture_output=True)

    assert commit_of(tmp_path / "nowhere") == "unknown"
    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "first")
    clean = commit_of(tmp_path)
    assert clean.isalnum() and len(clean) >= 7
    (tmp_path / "file").write_text("two")
    assert commit_of(tmp_path) == f"{clean}+"


def test_errors_are_found_in_the_tokens_and_channels_that_carry_them() -> None:
    expected = torch.randn(4, 50, 200)
    expected[1, 7] *= 30  # loud tokens: two of 200
    expected[2, 9] *= 30
    expected[..., 5] *= 100  # loud channels: two of 200
    expected[..., 8] *= 100
    actual = expected.clone()
    actual[1, 7] *= 1.1
    actual[:, 0, 3] += 1.0
    found = sources(expected, actual)
    class_error, token_error = 4.0, 0.01 * float(expected[1, 7].square().sum())
    assert found["all"] == pytest.approx(
        (class_error + token_error) / float(expected.square().sum()), rel=1e-3
    )
    assert found["class_token"] == pytest.approx(class_error / float(expected[:, 0].square().sum()), rel=1e-3)
    assert found["error_in_loud_tokens"] == pytest.approx(token_error / (token_error + class_error), rel=1e-3)
    loud = float(expected[[1, 2], [7, 9]].square().sum() / expected.square().sum())
    assert found["size_in_loud_tokens"] == pytest.approx(loud, rel=1e-4)
    assert found["size_in_loud_channels"] > 0.9


def test_the_outputs_of_blocks_are_those_of_all_pictures_in_order(tiny, pictures) -> None:
    model = tiny(depth=2)
    images = pictures(model, 11)
    found = block_outputs(model, ["blocks.0", "blocks.1"], images)
    with torch.no_grad():
        stream = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(images))))
        first = model.blocks[0](stream)
        assert torch.allclose(found["blocks.0"], first, atol=1e-5)
        assert torch.allclose(found["blocks.1"], model.blocks[1](first), atol=1e-5)


KEPT = {"before": 1000, "after": 1100, "peak": 2000}


def crowd(seconds: float = 0.1, reader: int = 1, error: str = "") -> dict:
    """Of two sessions whose marks each saw itself, but for the first one's, which `reader` saw too."""
    heard = Crowd()
    for session in (0, 1):
        mark = heard.mark(session)
        heard.hear(session, Heard("list", True, 0.0, 0.1, f"<b>{mark}</b>"))
        if session == 0:
            heard.read(reader, "runs.csv", f"{mark}-extra" if reader == 0 else f"1,{mark}")
    with heard.running():
        for _ in range(3):
            heard.hear(0, Heard("look", True, 0.0, seconds, "", error))
    return {**summary(heard, "all is well"), "memory_mb": KEPT}


def test_a_crowd_without_faults_misses_no_limit() -> None:
    found = crowd(reader=0)
    assert not missed(found) and found["light_beside_heavy"]["count"] == 3 and found["marks"] == 2


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (crowd(reader=1), "somebody saw another's data"),
        (crowd(seconds=2.5, reader=0), "light actions took more than 2 s"),
        (crowd(reader=0, error="the engine stopped"), "there were errors"),
        ({**crowd(reader=0), "memory_mb": {**KEPT, "after": 1201}}, "memory was not given back"),
        ({**crowd(reader=0), "tracebacks": 1}, "there were errors"),
        ({**crowd(reader=0), "blind": [1]}, "somebody never saw their own marks"),
    ],
)
def test_each_limit_that_a_crowd_misses_is_named(found, said) -> None:
    assert missed(found) == [said]
