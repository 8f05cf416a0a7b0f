"""Evaluation and importance over many processes: what one finds, also where one of them was killed."""

from __future__ import annotations

import json
import signal

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

import vitq_core as vq
from vitq_core.common.processes import Group
from vitq_core.scoring.sources import SOURCES

from .conftest import build, random_pictures
from .sam import records, tiny_sam
from .workers import in_threads, started, torchrun

WHOLE = """
import torch
import vitq_core as vq
from vitq_core.pictures import PictureFolder
torch.set_num_threads(1)
folder = sys.argv[1]

def found(model, other, loader, images, group, state):
    given = {"processes": group} if group else {}
    evaluation = vq.evaluate(other, loader, reference=model, **given)
    kept = {"state": f"{folder}/{state}"} if group else {}
    scores = vq.importance(model, images, batch_size=4, **kept, **given)
    return {"evaluation": dict(evaluation), "scores": json.loads(scores.to_json())}

def all_of(group):
    both = torch.load(f"{folder}/given.pt", weights_only=False)
    out = {}
    for name, (model, other, images) in both.items():
        labels = torch.arange(len(images)) % 5
        loader = [(part, labels[i * 2 : i * 2 + 2]) for i, part in enumerate(images.split(2))]
        out[name] = found(model, other, loader, images, group, name)
    swin = vq.load_model("demo-swin")
    pictures = PictureFolder(f"{folder}/pictures", swin.preprocess)
    result = vq.quantize(swin, pictures.loader(4), vq.recipe("minmax", 4, 4))
    out["swin"] = found(swin, result.model, pictures.loader(2), pictures.loader(2), group, "swin")
    return out

def work(group):
    shared = all_of(group)
    if group.first:
        json.dump({"alone": all_of(None), "shared": shared}, open(f"{folder}/found.json", "w"))
told(work)
"""
KILLED = """
import torch
import vitq_core as vq
from importlib import import_module
import_module("vitq_core.scoring.streaming").SAVE_EVERY = 0.0
import_module("vitq_core.evaluation").SAVE_EVERY = 0.0
folder, killed = sys.argv[1], sys.argv[2] == "killed"
model, images = torch.load(f"{folder}/given.pt", weights_only=False)
seen = []

def work(group):
    def progress(share, said):
        seen.append(said)
        if killed and group.rank == 1 and len(seen) == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
    if sys.argv[4] == "importance":
        kept = {"state": f"{folder}/state", "progress": progress, "processes": group}
        scores = vq.importance(model, images, batch_size=1, **kept)
        text = scores.to_json()
    else:
        loader = list(images.split(1))
        found = vq.evaluate(model, loader, model, progress, state=f"{folder}/state", processes=group)
        text = json.dumps(dict(found))
    open(f"{folder}/{group.rank}.json", "w").write(text)
    open(f"{folder}/{group.rank}.seen", "w").write(str(len(seen)))
told(work)
"""


def close(found: object, expected: object, where: str = "") -> None:
    """Counts to the last digit, means to 1e-6."""
    assert type(found) is type(expected), where
    if isinstance(expected, dict):
        assert list(found) == list(expected), where
        for name, value in expected.items():
            close(found[name], value, f"{where} {name}")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9), where
    else:
        assert found == expected, where


def test_two_processes_find_what_one_finds(tmp_path) -> None:
    """A classifier, features, and demo-swin quantized; 7 and 5 pictures for 2 workers."""
    given = {}
    for name, classes in (("classifier", 5), ("features", 0)):
        models = [build(seed, depth=2, num_classes=classes) for seed in (0, 1)]
        given[name] = (*models, random_pictures(models[0], 7))
    torch.save(given, tmp_path / "given.pt")
    (tmp_path / "pictures").mkdir()
    for number in range(5):
        Image.effect_noise((64, 64), 20 * number).convert("RGB").save(tmp_path / f"pictures/{number}.png")
    ended = torchrun(tmp_path, WHOLE, tmp_path)
    assert ended.codes == [0], ended.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["shared"].keys() == {"classifier", "features", "swin"}
    assert found["alone"]["swin"]["evaluation"]["n"] == 5
    close(found["shared"], found["alone"])
    assert not list(tmp_path.glob("*-of-*")), "the files of workers are put together"


@pytest.mark.parametrize("what", ["importance", "evaluate"])
def test_a_killed_worker_ends_the_run_and_a_rerun_goes_on(tmp_path, what: str) -> None:
    model = build(depth=2)
    images = random_pictures(model, 12)
    torch.save((model, images), tmp_path / "given.pt")
    ended = started(tmp_path, KILLED, tmp_path, "killed", 4, what)
    assert ended.codes == [1, -signal.SIGKILL], ended.stderr
    (sentence,) = ended.said
    assert sentence.startswith("worker 1 of 2 on ") and " died: " in sentence
    assert "Traceback" not in ended.stderr
    kept = sum(json.loads(path.read_text())["done"] != [] for path in tmp_path.glob("state*"))
    assert kept == 2
    again = started(tmp_path, KILLED, tmp_path, "well", 0, what, workers=3)
    assert again.codes == [0, 0, 0], again.stderr
    expected = vq.importance(model, images) if what == "importance" else vq.evaluate(model, images, model)
    texts = {(tmp_path / f"{rank}.json").read_text() for rank in range(3)}
    assert len(texts) == 1
    wanted = json.loads(expected.to_json()) if what == "importance" else dict(expected)
    close(json.loads(texts.pop()), json.loads(json.dumps(wanted)))
    calls = sum(int((tmp_path / f"{rank}.seen").read_text()) for rank in range(3))
    assert calls <= 9 + 2 * 3, "what both workers had kept is not done again"


# -- the same code with threads for processes: every entry of the registries ------------------------------
@pytest.mark.parametrize("source", list(SOURCES))
@pytest.mark.parametrize("workers", [2, 3])
def test_scores_of_every_source_are_those_of_one_worker(source: str, workers: int) -> None:
    model = build(depth=2)
    images = random_pictures(model, 11)
    expected = vq.importance(model, images, source, batch_size=2)
    found = in_threads(
        workers, lambda group: vq.importance(model, images, source, batch_size=2, processes=group)
    )
    for each in found:
        assert each.pictures == 11
        close(json.loads(each.to_json()), json.loads(expected.to_json()))


@pytest.mark.parametrize("targets", [3, [0, 1, 2, 3, 4, 0, 1, 2, 3]])
def test_targets_follow_their_pictures(targets) -> None:
    model = build(depth=2)
    images = random_pictures(model, 9)
    expected = vq.importance(model, images, targets=targets)
    for given in (images, images.split(2), DataLoader(TensorDataset(images), batch_size=2)):

        def work(group: Group, given=given) -> vq.Importance:
            return vq.importance(model, given, targets=targets, processes=group)

        for each in in_threads(2, work):
            close(json.loads(each.to_json()), json.loads(expected.to_json()))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_more_workers_than_pictures(count: int) -> None:
    models = [build(depth=2) for _ in range(3)]
    images, other = random_pictures(models[0], count), build(seed=1, depth=2)
    expected = vq.evaluate(models[0], images, reference=other)
    expected_scores = vq.importance(models[0], images)

    def work(group: Group) -> tuple:
        model = models[group.rank]
        evaluation = vq.evaluate(model, [images], reference=other, processes=group)
        return evaluation, vq.importance(model, images, processes=group)

    for evaluation, scores in in_threads(3, work):
        close(dict(evaluation), dict(expected))
        close(json.loads(scores.to_json()), json.loads(expected_scores.to_json()))


def test_no_pictures_are_nothing_to_evaluate_at_every_worker() -> None:
    model = build()

    def work(group: Group) -> str:
        with pytest.raises(ValueError, match="there is nothing to evaluate"):
            vq.evaluate(model, [], processes=group)
        return "said"

    assert in_threads(2, work) == ["said", "said"]


def test_masks_follow_their_pictures() -> None:
    sams = [tiny_sam() for _ in range(2)]
    batches = [records(2), records(1)]
    masks = [
        [torch.rand(1 + number, *record["original_size"]) > 0.5 for number, record in enumerate(batch)]
        for batch in batches
    ]
    expected = vq.evaluate(sams[0], batches, masks=masks)

    def work(group: Group) -> vq.Evaluation:
        return vq.evaluate(sams[group.rank], batches, masks=masks, processes=group)

    for found in in_threads(2, work):
        close(dict(found), dict(expected))


@pytest.mark.parametrize("change", ["model", "pictures", "reference"])
def test_counts_of_another_evaluation_are_refused(tmp_path, change: str) -> None:
    model, state = build(depth=2), tmp_path / "counts.json"
    images = random_pictures(model, 4)
    first = vq.evaluate(model, images, model, state=state)
    assert vq.evaluate(model, images, model, state=state) == first
    given = {
        "model": (build(seed=3, depth=2), images, model),
        "pictures": (model, images.flip(0), model),
        "reference": (model, images, None),
    }[change]
    with pytest.raises(vq.VitqError, match=r"counts.json belongs to another run"):
        vq.evaluate(*given, state=state)


def test_a_quantized_model_of_other_bits_is_another_one(tmp_path) -> None:
    model = build(depth=2)
    images = random_pictures(model, 4)
    results = [vq.quantize(model, images, vq.recipe("minmax", bits, 8)) for bits in (4, 8)]
    vq.evaluate(results[0].model, images, state=tmp_path / "counts.json")
    with pytest.raises(vq.VitqError, match="belongs to another run"):
        vq.evaluate(results[1].model, images, state=tmp_path / "counts.json")
