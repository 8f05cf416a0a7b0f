"""A model of a file on the page: what it is, what is said of it, and that it is then the page's model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
import torch
from safetensors.torch import save_file

import vitq_core as vq
from tests.models.checkpoints.files import ARCHITECTURE, net, save_folder, state
from tests.models.sam.files import PLAIN, save_pickle, weights
from tests.sam import tiny_sam
from ui.another.brought import Brought
from ui.another.of_file import OfFile
from ui.parts import own_models
from ui.parts.cache import Cache
from ui.parts.jobs import Job
from ui.parts.model_bar import ModelBar, model_sentence
from ui.parts.model_list import called, choices, offered, task_of, wrong_model
from ui.parts.settings import RunSettings
from ui.workbench import Workbench


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """`name(path)`, `use(found, **said)` as a press of the button comes to; `texts` of the last answer."""
    monkeypatch.setattr(own_models, "_known", Cache(9))
    bench = Workbench()
    with gr.Blocks() as studio:
        bar = ModelBar("Views")
        prompted = gr.Dropdown([("demo-sam", "demo-sam")])
        page = OfFile(bench, Brought(bar, prompted))
        page.connect(studio)

    def name(path: object) -> dict:
        return page.named({page.path: path, page.found: None})

    def use(seen: dict, own: object = None, job: Job | None = None, **said: object) -> dict:
        texts = {field: _value(seen[field]) for field in page.words.values()}
        texts |= {page.words[key]: value for key, value in said.items()}
        given = {page.found: seen[page.found], page.brought.own: own, **texts}
        verdicts = page._verdicts(texts)
        assert all(verdict["is_valid"] for verdict in verdicts), verdicts
        return page.fetch(given, lambda *said: None, job or Job())

    return SimpleNamespace(
        page=page, bench=bench, name=name, use=use, model=bar.fields["model"], prompted=prompted
    )


def _value(update: object) -> object:
    return update.get("value") if isinstance(update, dict) else update


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Of a small ViT whose sizes no name of timm's has; three classes, pictures of 16×16."""
    path = tmp_path / "mine.safetensors"
    save_file(state(real()), path)
    return path


def real(seed: int = 0) -> torch.nn.Module:
    """One that timm's names build as they are, as small as they come."""
    return net("vit_tiny_patch16_224", seed, img_size=32, patch_size=16, embed_dim=192, depth=12, num_heads=3)


def test_the_form_is_filled_from_the_file(box, file: Path) -> None:
    seen, page = box.name(str(file)), box.page
    facts = seen[page.facts]
    for said in (
        "mine.safetensors",
        "Vision transformer",
        "12 blocks, width 192",
        "16×16 pixels",
        "3 classes",
    ):
        assert said in facts
    assert seen[page.found] == str(file) and seen[page.said]["visible"] and seen[page.offer]["visible"]
    assert seen[page.words["architecture"]]["value"] == "vit_tiny_patch16_224"
    assert seen[page.words["size"]] == "32" and seen[page.words["labels"]] == ""


def test_what_a_file_says_beside_its_tensors_stands_in_the_form(box, tmp_path: Path) -> None:
    path = tmp_path / "said.safetensors"
    words = {
        "architecture": ARCHITECTURE,
        "label_names": '["ant", "bee", "fox"]',
        "mean": "[0.5, 0.25, 0.125]",
        "std": "[0.5, 0.5, 0.5]",
        "crop_pct": "0.95",
        "interpolation": "bilinear",
    }
    save_file(state(real()), path, metadata=words)
    seen, page = box.name(str(path)), box.page
    texts = {name: _value(seen[field]) for name, field in page.words.items()}
    assert texts == {
        "architecture": ARCHITECTURE,
        "labels": "ant\nbee\nfox",
        "size": "32",
        "mean": "0.5, 0.25, 0.125",
        "std": "0.5, 0.5, 0.5",
        "crop_pct": "0.95",
        "interpolation": "bilinear",
    }
    box.use(seen)
    model = box.bench.model(_value(box.use(seen)[box.model]))
    assert model.labels == ["ant", "bee", "fox"]
    assert (model.preprocessing.mean, model.preprocessing.crop_pct) == ((0.5, 0.25, 0.125), 0.95)


def test_it_is_every_tabs_model_with_what_was_said(box, file: Path) -> None:
    found = box.use(box.name(str(file)), labels="ant, bee, fox", mean="0.5 0.5 0.5", crop_pct="1")
    model_id = found[box.model]["value"]
    assert model_id.startswith("file:") and found[box.page.brought.own] == [model_id]
    assert (called(model_id), model_id) in found[box.model]["choices"]
    assert called(model_id).startswith("mine.safetensors@")
    model = box.bench.model(model_id)
    assert model.labels == ["ant", "bee", "fox"] and model.preprocessing.mean == (0.5, 0.5, 0.5)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model.module(x), real()(x))
    assert task_of(model_id) == "classification" and str(file.parent) not in model_sentence(model_id)
    assert str(file.parent) not in offered(model_id).source
    outcome = box.bench.quantize(RunSettings(model_id, "minmax", calibration=2, held_out=2))
    assert outcome.record.made_of["source"] == offered(model_id).source
    assert model_id not in [each for _, each in choices()]


def test_what_is_said_decides_which_model_it_is(box, file: Path) -> None:
    seen = box.name(str(file))
    first = box.use(seen, mean="0.5, 0.5, 0.5")[box.model]["value"]
    again = box.use(seen, mean="0.5, 0.5, 0.5")[box.model]["value"]
    other = box.use(seen, own=[first], mean="0.4, 0.4, 0.4")[box.model]
    assert first == again != other["value"]
    assert [each for _, each in other["choices"]][-2:] == [first, other["value"]]


def test_a_wrong_architecture_is_a_sentence_and_the_form_stays(box, file: Path) -> None:
    seen = box.name(str(file))
    with pytest.raises(vq.VitqError, match=r"mine\.safetensors"):
        box.use(seen, architecture="vit_small_patch16_224")
    with pytest.raises(ValueError, match="did you mean vit_tiny_patch16"):
        box.use(seen, architecture="vit_tinny_patch16_224")
    with pytest.raises(vq.VitqError, match="swin_tiny_patch4_window7_224"):
        box.use(seen, architecture="swin_tiny_patch4_window7_224")
    with pytest.raises(ValueError, match="labels"):
        box.use(seen, labels="ant, bee")
    assert box.use(seen)[box.model]["value"].startswith("file:")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("mean", "a, b", "Numbers between commas"),
        ("std", "0.5; x", "Numbers between commas"),
        ("size", "big", "Pixels, such as 224"),
        ("size", "-3", "Pixels, such as 224"),
        ("crop_pct", "2", "A number above 0"),
        ("crop_pct", "nan", "A number above 0"),
        ("interpolation", "cubic", "Choose one of bicubic"),
        ("labels", ["x"], "Text, please."),
    ],
)
def test_a_wrong_box_is_said_beside_it(box, name: str, text: object, sentence: str) -> None:
    texts = dict.fromkeys(box.page.words.values(), "") | {box.page.words[name]: text}
    verdicts = dict(zip(box.page.words, box.page._verdicts(texts), strict=True))
    assert sentence in verdicts[name]["message"]
    assert [key for key, verdict in verdicts.items() if not verdict["is_valid"]] == [name]


def test_what_is_no_model_is_said_beside_the_box(box, tmp_path: Path) -> None:
    page = box.page
    (tmp_path / "page.pth").write_text("<html>")
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    for path, sentence in (
        (tmp_path / "none.safetensors", "there is no file of weights"),
        (tmp_path / "page.pth", "are no file of weights"),
        (tmp_path / "other.safetensors", "holds no vision transformer"),
        (tmp_path, "has no model.safetensors"),
    ):
        seen = box.name(str(path))
        assert sentence in seen[page.facts] and str(tmp_path.parent) not in seen[page.facts]
        assert seen[page.found] is None and not seen[page.offer]["visible"]
    for typed in ("", None, 3, ["x"]):
        assert box.name(typed) == gr.skip()
    assert page.uploaded({page.file: None})[page.facts] == ""
    with pytest.raises(ValueError, match="Upload a file, or name one"):
        page.fetch({page.found: None}, lambda *said: None, Job())


def test_a_folder_says_all_itself(box, tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "deployed", state(net()), label_names=["ant", "bee", "fox"])
    seen = box.name(str(folder))
    assert not seen[box.page.words["architecture"]]["visible"]
    assert (
        seen[box.page.words["labels"]] == "ant\nbee\nfox" and seen[box.page.words["mean"]] == "0.5, 0.5, 0.5"
    )
    model = box.bench.model(box.use(seen)[box.model]["value"])
    assert torch.equal(model.module(torch.ones(1, 3, 16, 16)), net()(torch.ones(1, 3, 16, 16)))


def test_a_segment_anything_is_chosen_where_it_can_be_asked(box, tmp_path: Path) -> None:
    path = save_pickle(tmp_path / "sam.pth", weights(tiny_sam(PLAIN)))
    seen = box.name(str(path))
    assert "Segment Anything" in seen[box.page.facts] and not seen[box.page.said]["visible"]
    found = box.use(seen)
    assert found[box.prompted]["value"].startswith("file:") and box.model not in found
    assert found[box.page.brought.bar.opens] == "Segment"
    listed = [each for _, each in found[box.prompted]["choices"]]
    assert listed[-1] == found[box.prompted]["value"] and "demo-vit" not in listed


def test_a_file_that_went_or_changed_is_a_sentence(box, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_id = box.use(box.name(str(file)))[box.model]["value"]
    box.bench._models = Cache(9)
    assert torch.equal(
        box.bench.model(model_id).module.cls_token, real().cls_token
    )  # let go of, and read again
    box.bench._models = Cache(9)
    save_file(state(real(seed=1)), file)
    with pytest.raises(ValueError, match=r"mine.safetensors@\w{7} has changed since it was chosen; bring"):
        box.bench.model(model_id)
    file.unlink()
    with pytest.raises(ValueError, match=r"mine.safetensors@\w{7} is no longer on the server; bring"):
        box.bench.model(model_id)
    monkeypatch.setattr(own_models, "_known", Cache(9))
    assert wrong_model(model_id) == (
        f"{called(model_id)} is not here any more: bring its file again under “Another model”."
    )
    assert called(model_id).startswith("file@")


def test_strangers_name_no_paths_of_a_server(box, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "user/space")
    assert box.name(str(file)) == gr.skip()
    uploaded = box.page.uploaded({box.page.file: str(file)})
    assert uploaded[box.page.found] == str(file)


def test_leaving_the_box_of_the_path_changes_nothing_that_was_typed(box, file: Path) -> None:
    """Neither with the path that the form is about, nor with none beside an uploaded file."""
    for typed in (str(file), f" {file} ", "", None):
        assert box.page.named({box.page.path: typed, box.page.found: str(file)}) == gr.skip()


def test_a_program_is_refused_what_the_form_refuses(box, file: Path) -> None:
    texts = dict.fromkeys(box.page.words.values()) | {box.page.words["crop_pct"]: "2"}
    with pytest.raises(ValueError, match="crop_pct: A number above 0"):
        box.page.fetch({box.page.found: str(file), box.page.brought.own: None, **texts}, print, Job())


def test_reading_is_cancelled(box, file: Path) -> None:
    job = Job()
    job.abandon()
    with pytest.raises(vq.Cancelled):
        box.use(box.name(str(file)), job=job)
